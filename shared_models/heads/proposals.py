"""From dense predictions to few boxes: proposals for the second stage, and the final selection."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from shared_models.geometry.nms import nms_bev
from shared_models.records import Detections, check

MAX_BOXES = 65_536  # looked at or kept in one scan


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposalConfig:
    """Selection of regions of interest.

    pre_max, post_max: boxes looked at and kept. iou_threshold: bird's-eye IoU above which the lower one goes.
    """

    pre_max: int = 1024
    post_max: int = 100
    iou_threshold: float = 0.7

    def __post_init__(self) -> None:
        check.count("ProposalConfig", "pre_max", self.pre_max, MAX_BOXES)
        check.count("ProposalConfig", "post_max", self.post_max, MAX_BOXES)
        check.number("ProposalConfig", "iou_threshold", self.iou_threshold, 0, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionConfig:
    """The last step. score_threshold: lower scores are dropped; the others as in `ProposalConfig`."""

    score_threshold: float = 0.1
    pre_max: int = 4096
    post_max: int = 500
    iou_threshold: float = 0.01

    def __post_init__(self) -> None:
        check.number("SelectionConfig", "score_threshold", self.score_threshold, 0, 1)
        check.count("SelectionConfig", "pre_max", self.pre_max, MAX_BOXES)
        check.count("SelectionConfig", "post_max", self.post_max, MAX_BOXES)
        check.number("SelectionConfig", "iou_threshold", self.iou_threshold, 0, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposals:
    """Regions of interest of one scan. boxes: (R, 7). logits: (R,), best class. labels: (R,) int64 from 0."""

    boxes: Tensor
    logits: Tensor
    labels: Tensor


def propose(boxes: Tensor, class_logits: Tensor, config: ProposalConfig) -> Proposals:
    """Best boxes of one scan by their best class, without regard to class. boxes (N, 7), class_logits (N, K).

    Boxes or logits that are not finite are dropped, and boxes without size: features that no network made, or a network
    that has hardly learned, can lead to them.
    """
    logits, labels = class_logits.max(1)
    is_usable = usable(boxes, logits)
    logits = logits.masked_fill(~is_usable, -torch.inf)
    # Only the best can survive: take them first, so that the 211,200 anchors are not sorted.
    best = torch.topk(logits, min(config.pre_max, len(logits))).indices
    best = best[is_usable[best]]
    kept = best[nms_bev(boxes[best], logits[best], config.iou_threshold, config.pre_max, config.post_max)]
    return Proposals(boxes=boxes[kept], logits=logits[kept], labels=labels[kept])


def select(
    boxes: Tensor, scores: Tensor, labels: Tensor, class_names: tuple[str, ...], config: SelectionConfig
) -> Detections:
    """Final boxes of one scan: score threshold, then class-agnostic NMS. boxes (R, 7), scores (R,), labels (R,).

    Unusable boxes or scores are dropped, as in `propose`.
    """
    above = ((scores >= config.score_threshold) & usable(boxes, scores)).nonzero().squeeze(1)
    kept = above[nms_bev(boxes[above], scores[above], config.iou_threshold, config.pre_max, config.post_max)]
    return Detections(boxes=boxes[kept], scores=scores[kept], labels=labels[kept], class_names=class_names)


def usable(boxes: Tensor, values: Tensor) -> Tensor:
    """(N,) bool: rows whose box (N, 7) and value (N,) are finite, and whose sizes did not underflow to 0."""
    return torch.isfinite(boxes).all(1) & (boxes[:, 3:6] > 0).all(1) & torch.isfinite(values)
