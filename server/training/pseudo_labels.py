"""From a teacher's candidates to pseudo labels: what is sure enough to learn from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from server.training.samples import Truth
from shared_models.errors import InvalidValueError
from shared_models.geometry.nms import nms_bev
from shared_models.heads.candidates import Candidates
from shared_models.records import check


@dataclass(frozen=True, slots=True, kw_only=True)
class PseudoLabelConfig:
    """When a candidate becomes a pseudo label.

    class_score: its class score must exceed this (3DIoUMatch's published 0.4).
    box_score: its predicted IoU must exceed this, by class in the detector's order; the last holds for further ones.
    ignore_from: candidates whose predicted IoU is between this and `box_score` are neither object nor background
        (ST3D: 0.2 for SECOND-IoU, 0.25 for PV-RCNN); 1 ignores none, as in 3DIoUMatch.
    nms_iou: of two that overlap more, the one with the lower predicted IoU goes.
    score_floor: candidates with lower predicted IoU are dropped first.
    ranking: what decides between overlapping candidates: "box" score or "class" score.
    """

    class_score: float = 0.4
    box_score: tuple[float, ...] = (0.5, 0.25, 0.25)
    ignore_from: float = 1.0
    nms_iou: float = 0.1
    score_floor: float = 0.1
    ranking: Literal["box", "class"] = "box"

    def __post_init__(self) -> None:
        for name in ("class_score", "ignore_from", "nms_iou", "score_floor"):
            check.number("PseudoLabelConfig", name, getattr(self, name), 0, 1)
        check.number("PseudoLabelConfig", "box_score", self.box_score, 0, 1)
        if not self.box_score:
            raise InvalidValueError("PseudoLabelConfig.box_score: expected at least one number")

    @classmethod
    def domain_adaptation(cls, is_pv_rcnn: bool = False) -> PseudoLabelConfig:
        """ST3D's thresholds: positive from 0.6, ignored from 0.2 (PV-RCNN 0.25)."""
        return cls(class_score=0.0, box_score=(0.6,), ignore_from=0.25 if is_pv_rcnn else 0.2)


def choose(candidates: Candidates, config: PseudoLabelConfig) -> Truth:
    """The pseudo labels among a scene's candidates: sure ones, and ignored ones where the configuration keeps those."""
    return choose_scored(candidates, config)[0]


def choose_scored(candidates: Candidates, config: PseudoLabelConfig) -> tuple[Truth, NDArray[np.float32]]:
    """As `choose`, with the predicted IoU (M,) of each."""
    above = (candidates.box_scores >= config.score_floor).nonzero().squeeze(1)
    ranks = candidates.box_scores if config.ranking == "box" else candidates.class_scores
    kept = above[nms_bev(candidates.boxes[above], ranks[above], config.nms_iou)]
    labels = candidates.labels[kept]
    limits = torch.tensor(config.box_score, device=labels.device)[labels.clamp(max=len(config.box_score) - 1)]
    box_scores = candidates.box_scores[kept]
    is_sure = (box_scores > limits) & (candidates.class_scores[kept] > config.class_score)
    is_ignored = ~is_sure & (box_scores >= config.ignore_from)
    used = is_sure | is_ignored
    boxes = candidates.boxes[kept][used].cpu().numpy().astype(np.float32)
    truth = Truth(
        boxes=boxes,
        labels=labels[used].cpu().numpy().astype(np.int64),
        is_ignored=is_ignored[used].cpu().numpy(),
        is_exact=np.zeros(len(boxes), dtype=bool),
    )
    return truth, box_scores[used].cpu().numpy().astype(np.float32)
