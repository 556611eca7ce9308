"""Membership: a detector is surer of scenes that it has learned from.

Score: minus the loss of the surest predictions against themselves, hardened: the mean over the surest anchors of
log(max(p, 1 - p)), p the probability of the anchor's likeliest class. It needs no label. With a reference detector, the
difference of both scores, which takes out how hard a scene is (L. Watson et al., "On the Importance of Difficulty
Calibration in Membership Inference Attacks", ICLR 2022; N. Carlini et al., "Membership Inference Attacks From First
Principles", IEEE S&P 2022).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

import torch
from torch import Tensor

from server.audit.attack import MembershipAttack, Workbench
from server.audit.threat import Ability, AttackerView
from shared_models import codecs
from shared_models.detectors.anchor_detector import AnchorDetector
from shared_models.detectors.batch_input import BatchInput
from shared_models.errors import InvalidValueError
from shared_models.records import SceneFeatures, check


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfidenceConfig:
    """What the score is made of.

    signal: "loss" as above; "objects" the mean probability of the `anchors` surest anchors.
    anchors: the surest anchors that count, of all in the scene; 0 counts all.
    calibration: "reference" takes the difference to a reference detector, which the threat must give; "none" does not.
    """

    signal: Literal["loss", "objects"] = "loss"
    anchors: int = 200
    calibration: Literal["none", "reference"] = "none"

    def __post_init__(self) -> None:
        check.count("ConfidenceConfig", "anchors", self.anchors, 10**8, 0)


@final
class Confidence(MembershipAttack):
    """White box, on stored features; no label and no scan."""

    name = "confidence"
    needs = frozenset({Ability.WHITE_BOX})
    may_use = frozenset({Ability.REFERENCE})
    config_class = ConfidenceConfig
    config: ConfidenceConfig
    _detector: AnchorDetector | None = None
    _reference: AnchorDetector | None = None

    def required(self) -> frozenset[Ability]:
        return self.needs | ({Ability.REFERENCE} if self.config.calibration == "reference" else frozenset())

    def prepare(self, view: AttackerView, bench: Workbench) -> None:
        self._detector = _anchored(view.white_box())
        self._reference = _anchored(view.other_detector()) if self.config.calibration == "reference" else None

    def membership_score(self, payload: bytes) -> float:
        if self._detector is None:
            raise InvalidValueError("confidence: prepare it before it scores")
        features = codecs.decode(payload)
        score = self._score(self._detector, features)
        return score if self._reference is None else score - self._score(self._reference, features)

    def _score(self, detector: AnchorDetector, features: SceneFeatures) -> float:
        with torch.inference_mode():
            batch: BatchInput = detector.batch_of([features])
            first = detector.first_stage(batch.grid)
            likeliest = torch.sigmoid(detector.dense_head.class_logits(first.predictions)[0].amax(1).double())
            return float(self._signal(likeliest))

    def _signal(self, likeliest: Tensor) -> Tensor:
        count = min(self.config.anchors or len(likeliest), len(likeliest))
        surest = likeliest.topk(count).values
        if self.config.signal == "objects":
            return surest.mean()
        return torch.maximum(surest, 1 - surest).log().mean()


def _anchored(detector: object) -> AnchorDetector:
    if not isinstance(detector, AnchorDetector):
        raise InvalidValueError(f"confidence: expected a detector with anchors, got {type(detector).__name__}")
    return detector.eval()
