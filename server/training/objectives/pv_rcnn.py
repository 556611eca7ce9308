"""Training PV-RCNN: anchor head, keypoint scores, and a second stage that scores and refines proposals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from server.training.losses.corner import corner_loss
from server.training.losses.iou import iou_loss
from server.training.losses.point import point_loss
from server.training.losses.smooth_l1 import smooth_l1_loss
from server.training.objective import LossTerms, Objective, TermSelection
from server.training.objectives.counted import is_chosen, is_scored_keypoint, is_scored_roi
from server.training.objectives.first_stage import LossConfig, first_stage_losses, mean_or_zero
from server.training.samples import Truth
from server.training.targets.keypoints import keypoint_targets
from server.training.targets.rois import RoiSamplingConfig, RoiTargets, sample_rois
from shared_models.detectors.batch_input import BatchInput
from shared_models.detectors.pv_rcnn import PvRcnn
from shared_models.errors import InvalidValueError
from shared_models.heads.proposals import ProposalConfig
from shared_models.heads.roi_grid_head import Refinement
from shared_models.records import SetFeatures, check


@dataclass(frozen=True, slots=True, kw_only=True)
class PvRcnnLossConfig:
    """Training settings of PV-RCNN; the defaults are OpenPCDet's for KITTI.

    first_stage: losses of the anchor head.
    proposals: while training, more and closer ones than the detector's own. pre_max bounds the time that NMS takes.
    rois: which of the proposals the second stage learns from.
    iou_weight, roi_box_weight, corner_weight, point_weight: of the terms.
    roi_box_beta: where smooth L1 turns from square to straight, box codes. corner_beta_m: the same for corners, metres.
    point_alpha, point_gamma: of the keypoints' focal loss.
    point_ring_m: keypoints this close to a box, in full sizes, are ignored.
    """

    first_stage: LossConfig = LossConfig()
    proposals: ProposalConfig = ProposalConfig(pre_max=9000, post_max=512, iou_threshold=0.8)
    rois: RoiSamplingConfig = RoiSamplingConfig()
    iou_weight: float = 1.0
    roi_box_weight: float = 1.0
    corner_weight: float = 1.0
    point_weight: float = 1.0
    roi_box_beta: float = 1 / 9
    corner_beta_m: float = 1.0
    point_alpha: float = 0.25
    point_gamma: float = 2.0
    point_ring_m: float = 0.2

    def __post_init__(self) -> None:
        for name in ("iou_weight", "roi_box_weight", "corner_weight", "point_weight"):
            check.number("PvRcnnLossConfig", name, getattr(self, name), 0, 1e6)
        check.number("PvRcnnLossConfig", "roi_box_beta", self.roi_box_beta, 1e-6, 1e6)
        check.number("PvRcnnLossConfig", "corner_beta_m", self.corner_beta_m, 1e-6, 1e6)
        check.number("PvRcnnLossConfig", "point_alpha", self.point_alpha, 0, 1)
        check.number("PvRcnnLossConfig", "point_gamma", self.point_gamma, 0, 10)
        check.number("PvRcnnLossConfig", "point_ring_m", self.point_ring_m, 0, 10)


class PvRcnnObjective(Objective):
    """Terms: classification, box, direction, points, roi_iou, roi_box, roi_corner."""

    name = "pv_rcnn"
    config_class = PvRcnnLossConfig
    detector_class = PvRcnn
    config: PvRcnnLossConfig

    def _loss(
        self,
        detector: PvRcnn,
        batch: BatchInput,
        truths: Sequence[Truth],
        rngs: Sequence[np.random.Generator],
        terms: Sequence[TermSelection],
    ) -> LossTerms:
        if batch.keypoints is None:
            raise InvalidValueError("objective pv_rcnn: expected keypoints for every scene of the batch, got none")
        first = detector.first_stage(batch.grid)
        losses = first_stage_losses(detector, first.predictions, truths, terms, self.config.first_stage)
        with torch.no_grad():
            found = detector.propose(first, self.config.proposals)
        scans = zip(found, truths, rngs, strict=True)
        rois = [sample_rois(scan, truth, self.config.rois, rng) for scan, truth, rng in scans]
        weighted = detector.weigh(batch.keypoints)
        refined = detector.refine_weighted([scan.boxes for scan in rois], batch.keypoints, weighted)
        points, keypoint_count = self._point_terms(batch.keypoints, weighted.logits, truths, terms)
        counts = {
            "positive_anchors": float(losses.positive_count),
            "rois": float(sum(len(roi.boxes) for roi in rois)),
            "foreground_rois": float(sum(len(roi.foreground) for roi in rois)),
            "object_keypoints": float(keypoint_count),
        }
        return LossTerms(
            per_scene=losses.by_name() | {"points": points} | self._roi_terms(refined, rois, truths, terms),
            counts=counts,
        )

    def _point_terms(
        self,
        keypoints: Sequence[SetFeatures],
        logits: Sequence[Tensor],
        truths: Sequence[Truth],
        terms: Sequence[TermSelection],
    ) -> tuple[Tensor, int]:
        """(B,) losses, each over its scene's keypoints on objects (at least 1), and how many of those the batch has."""
        losses, total = [], 0
        for scan, scene, truth, chosen in zip(keypoints, logits, truths, terms, strict=True):
            targets = keypoint_targets(scan.positions, truth, self.config.point_ring_m)
            mask = is_scored_keypoint(targets, truth, scene, chosen)
            on_object = int((targets.labels == 1).sum())
            found = point_loss(scene[mask], targets.labels[mask], self.config.point_alpha, self.config.point_gamma)
            losses.append(found.sum() / max(on_object, 1))
            total += on_object
        return torch.stack(losses) * self.config.point_weight, total

    def _roi_terms(
        self,
        refined: Sequence[Refinement],
        rois: Sequence[RoiTargets],
        truths: Sequence[Truth],
        terms: Sequence[TermSelection],
    ) -> dict[str, Tensor]:
        """(B,) losses of the second stage, each a mean over the proposals that count."""
        ious, boxes, corners = [], [], []
        for answer, roi, truth, chosen in zip(refined, rois, truths, terms, strict=True):
            scored = is_scored_roi(roi, truth, chosen)
            ious.append(mean_or_zero(iou_loss(answer.logits[scored], roi.scores[scored])))
            mask = is_chosen(roi.rows[roi.foreground], truth, chosen.roi_box)
            at = roi.foreground[mask]
            codes = smooth_l1_loss(answer.codes[at], roi.codes[mask], self.config.roi_box_beta)
            boxes.append(mean_or_zero(codes.sum(1)))
            corners.append(
                mean_or_zero(corner_loss(answer.boxes[at], roi.truth_boxes[mask], self.config.corner_beta_m))
            )
        return {
            "roi_iou": torch.stack(ious) * self.config.iou_weight,
            "roi_box": torch.stack(boxes) * self.config.roi_box_weight,
            "roi_corner": torch.stack(corners) * self.config.corner_weight,
        }
