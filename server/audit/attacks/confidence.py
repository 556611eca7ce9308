"""Membership: a detector is surer of scenes that it has learned from.

p is the probability of an anchor's likeliest class; no signal needs a label. "decided": how much of what looks like an
object the detector has made up its mind about, the sum of p over anchors with p > 0.5 by the sum over those with
p > 0.05. It hardly follows how many objects there are, which the other two do: "objects", the mean of p over the surest
anchors, and "loss", the mean of their log(max(p, 1 - p)), minus the loss of predictions against themselves, hardened.
With a reference detector, the difference of both scores, which takes out how hard a scene is (L. Watson et al., "On the
Importance of Difficulty Calibration in Membership Inference Attacks", ICLR 2022; N. Carlini et al., "Membership
Inference Attacks From First Principles", IEEE S&P 2022).
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

POSSIBLE, DECIDED = 0.05, 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfidenceConfig:
    """What the score is made of.

    signal: as above.
    anchors: of "objects" and "loss", the surest anchors that count, of all in the scene; 0 counts all.
    calibration: "reference" takes the difference to a reference detector, which the threat must give; "none" does not.
    """

    signal: Literal["decided", "objects", "loss"] = "decided"
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
        if self.config.signal == "decided":
            return _decided(likeliest)
        count = min(self.config.anchors or len(likeliest), len(likeliest))
        surest = likeliest.topk(count).values
        if self.config.signal == "objects":
            return surest.mean()
        return torch.maximum(surest, 1 - surest).log().mean()


def _anchored(detector: object) -> AnchorDetector:
    if not isinstance(detector, AnchorDetector):
        raise InvalidValueError(f"confidence: expected a detector with anchors, got {type(detector).__name__}")
    return detector.eval()


def _decided(likeliest: Tensor) -> Tensor:
    """Between 0 and 1; 0 where nothing looks like an object."""
    possible = likeliest[likeliest > POSSIBLE].sum()
    return likeliest[likeliest > DECIDED].sum() / possible if possible > 0 else possible
