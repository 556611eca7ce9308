"""Losses of the anchor head: classes, boxes, directions (SECOND, Yan et al. 2018, section 3.1; OpenPCDet's weights)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from server.training.losses.box_code import box_code_loss
from server.training.losses.direction import direction_loss
from server.training.losses.focal import focal_loss
from server.training.objective import TermSelection
from server.training.objectives.counted import classified_anchors, is_chosen
from server.training.samples import Truth
from server.training.targets.anchors import AnchorLayout, AnchorTargets, anchor_layout, assign_anchors
from shared_models.detectors.anchor_detector import AnchorDetector
from shared_models.heads.anchor_head import BOX_CODE_SIZE, DIRECTION_BINS, AnchorHead, AnchorPredictions
from shared_models.records import check


@dataclass(frozen=True, slots=True, kw_only=True)
class LossConfig:
    """Weights and shapes of the anchor head's losses.

    class_weight, box_weight, direction_weight: of the three terms.
    focal_alpha, focal_gamma: of the focal loss. box_beta: where smooth L1 turns from square to straight, box codes.
    """

    class_weight: float = 1.0
    box_weight: float = 2.0
    direction_weight: float = 0.2
    focal_alpha: float = 0.25
    focal_gamma: float = 2.0
    box_beta: float = 1 / 9

    def __post_init__(self) -> None:
        for name in ("class_weight", "box_weight", "direction_weight"):
            check.number("LossConfig", name, getattr(self, name), 0, 1e6)
        check.number("LossConfig", "focal_alpha", self.focal_alpha, 0, 1)
        check.number("LossConfig", "focal_gamma", self.focal_gamma, 0, 10)
        check.number("LossConfig", "box_beta", self.box_beta, 1e-6, 1e6)


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstStageLosses:
    """Weighted losses (B,) float32 of each scene, and how many anchors of the batch are positive."""

    classification: Tensor
    box: Tensor
    direction: Tensor
    positive_count: int

    def by_name(self) -> dict[str, Tensor]:
        """The terms as `LossTerms` lists them."""
        return {"classification": self.classification, "box": self.box, "direction": self.direction}


def layout_of(detector: AnchorDetector) -> AnchorLayout:
    """Where the detector's anchors lie."""
    config = detector.config
    return anchor_layout(config.anchors.classes, config.voxels.point_range_m, detector.geometry.grid_shape[1:])


def first_stage_losses(
    detector: AnchorDetector,
    predictions: AnchorPredictions,
    truths: Sequence[Truth],
    terms: Sequence[TermSelection],
    config: LossConfig,
) -> FirstStageLosses:
    """Losses of a batch of B scenes.

    Classification is divided by a scene's positive anchors, also by those that its selection leaves out, so that
    background weighs the same as in an annotated scene; boxes and directions by the positives that count; all by at
    least 1.
    """
    layout, head = layout_of(detector), detector.dense_head
    targets = [assign_anchors(layout, truth, head.config.direction_offset_rad) for truth in truths]
    logits = head.class_logits(predictions)
    classes = [
        _classification(scene, target, classified_anchors(layout, target, truth, scene, chosen), config)
        for scene, target, truth, chosen in zip(logits, targets, truths, terms, strict=True)
    ]
    boxes, directions = _at_positives(head, predictions, targets, truths, terms, config)
    return FirstStageLosses(
        classification=torch.stack(classes) * config.class_weight,
        box=torch.stack(boxes) * config.box_weight,
        direction=torch.stack(directions) * config.direction_weight,
        positive_count=sum(len(target.positive_index) for target in targets),
    )


def _classification(logits: Tensor, targets: AnchorTargets, counted: Tensor, config: LossConfig) -> Tensor:
    """Focal loss of the counted anchors of one scene. logits: (N, K)."""
    labels = targets.labels.to(logits.device)[counted]
    wanted = labels[:, None] == torch.arange(1, logits.shape[1] + 1, device=logits.device)
    losses = focal_loss(logits[counted], wanted, config.focal_alpha, config.focal_gamma)
    return losses.sum() / max(len(targets.positive_index), 1)


def _at_positives(
    head: AnchorHead,
    predictions: AnchorPredictions,
    targets: Sequence[AnchorTargets],
    truths: Sequence[Truth],
    terms: Sequence[TermSelection],
    config: LossConfig,
) -> tuple[list[Tensor], list[Tensor]]:
    """Box and direction losses of each scene."""
    batch_size, count = len(targets), len(head.anchors)
    codes = predictions.box_codes.reshape(batch_size, count, BOX_CODE_SIZE)
    directions = predictions.direction_logits.reshape(batch_size, count, DIRECTION_BINS)
    boxes, turns = [], []
    for scene, (target, truth, chosen) in enumerate(zip(targets, truths, terms, strict=True)):
        is_box = is_chosen(target.positive_row, truth, chosen.box)
        is_turn = is_chosen(target.positive_row, truth, chosen.direction)
        at_box, at_turn = (target.positive_index[mask].to(codes.device) for mask in (is_box, is_turn))
        box_targets = target.box_targets[is_box].to(codes.device)
        bins = target.direction_targets[is_turn].to(codes.device)
        boxes.append(mean_or_zero(box_code_loss(codes[scene, at_box], box_targets, config.box_beta)))
        turns.append(mean_or_zero(direction_loss(directions[scene, at_turn], bins)))
    return boxes, turns


def mean_or_zero(losses: Tensor) -> Tensor:
    """The mean of (P,) losses; 0, with a gradient of 0, where there are none."""
    return losses.sum() / max(len(losses), 1)
