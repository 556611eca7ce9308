"""Training SECOND-IoU: the anchor head, and a second stage that predicts IoU and teaches the first one nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from server.training.losses.iou import iou_loss
from server.training.objective import LossTerms, Objective, TermSelection
from server.training.objectives.counted import is_scored_roi
from server.training.objectives.first_stage import LossConfig, first_stage_losses, mean_or_zero
from server.training.samples import Truth
from server.training.targets.rois import RoiSamplingConfig, sample_rois
from shared_models.detectors.batch_input import BatchInput
from shared_models.detectors.second_iou import SecondIou
from shared_models.heads.proposals import ProposalConfig
from shared_models.records import check


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondIouLossConfig:
    """Training settings of SECOND-IoU; the defaults are OpenPCDet's for KITTI.

    first_stage: losses of the anchor head.
    proposals: while training, more and closer ones than the detector's own. pre_max bounds the time that NMS takes.
    rois: which of the proposals the second stage learns from.
    iou_weight: of the second stage's term.
    """

    first_stage: LossConfig = LossConfig()
    proposals: ProposalConfig = ProposalConfig(pre_max=9000, post_max=512, iou_threshold=0.8)
    rois: RoiSamplingConfig = RoiSamplingConfig()
    iou_weight: float = 1.0

    def __post_init__(self) -> None:
        check.number("SecondIouLossConfig", "iou_weight", self.iou_weight, 0, 1e6)


class SecondIouObjective(Objective):
    """Terms: classification, box, direction, roi_iou."""

    name = "second_iou"
    config_class = SecondIouLossConfig
    detector_class = SecondIou
    config: SecondIouLossConfig

    def _loss(
        self,
        detector: SecondIou,
        batch: BatchInput,
        truths: Sequence[Truth],
        rngs: Sequence[np.random.Generator],
        terms: Sequence[TermSelection],
    ) -> LossTerms:
        first = detector.first_stage(batch.grid)
        losses = first_stage_losses(detector, first.predictions, truths, terms, self.config.first_stage)
        with torch.no_grad():
            found = detector.propose(first, self.config.proposals)
        scans = zip(found, truths, rngs, strict=True)
        rois = [sample_rois(scan, truth, self.config.rois, rng) for scan, truth, rng in scans]
        logits = detector.roi_head(first.bev, [scan.boxes for scan in rois])
        scenes = zip(logits, rois, truths, terms, strict=True)
        scored = [(is_scored_roi(roi, truth, chosen), scene, roi) for scene, roi, truth, chosen in scenes]
        ious = [mean_or_zero(iou_loss(scene[mask], roi.scores[mask])) for mask, scene, roi in scored]
        return LossTerms(
            per_scene=losses.by_name() | {"roi_iou": torch.stack(ious) * self.config.iou_weight},
            counts={
                "positive_anchors": float(losses.positive_count),
                "rois": float(sum(len(roi.boxes) for roi in rois)),
                "foreground_rois": float(sum(len(roi.foreground) for roi in rois)),
            },
        )
