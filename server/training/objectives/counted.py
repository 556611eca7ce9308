"""Which matches of a scene count for which loss term."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from server.training.objective import Boxes, TermSelection
from server.training.samples import Truth
from server.training.targets.anchors import AnchorLayout, AnchorTargets, touched_anchors
from server.training.targets.keypoints import KeypointTargets
from server.training.targets.rois import RoiTargets


def classified_anchors(
    layout: AnchorLayout, targets: AnchorTargets, truth: Truth, logits: Tensor, selection: TermSelection
) -> Tensor:
    """Numbers of the anchors whose class scores count, on the logits' device. logits: (N, K) of this scene."""
    if selection.classification == "none":
        return torch.empty(0, dtype=torch.int64, device=logits.device)
    if selection.classification == "all":
        return (targets.labels >= 0).nonzero().squeeze(1).to(logits.device)
    is_background = (targets.labels == 0) & ~touched_anchors(layout, truth.boxes[~truth.is_exact])
    is_sure = is_background.to(logits.device) & is_below(logits.amax(1), selection.background_score)
    positive = targets.positive_index[is_chosen(targets.positive_row, truth, "exact")]
    is_sure[positive.to(logits.device)] = True
    return is_sure.nonzero().squeeze(1)


def is_chosen(rows: Tensor, truth: Truth, choice: Boxes) -> Tensor:
    """(P,) bool: matches with truth rows (P,) that count for a box term."""
    if choice == "exact":
        return torch.from_numpy(truth.is_exact).to(rows.device)[rows]
    return torch.full_like(rows, choice == "all", dtype=torch.bool)


def is_scored_roi(rois: RoiTargets, truth: Truth, selection: TermSelection) -> Tensor:
    """(S,) bool: proposals whose score counts."""
    if selection.roi_iou != "exact_and_background":
        return torch.full_like(rois.rows, selection.roi_iou == "all", dtype=torch.bool)
    is_sure = is_below(rois.logits, selection.background_score)
    return _exact_or(rois.rows, truth, is_sure)


def is_scored_keypoint(targets: KeypointTargets, truth: Truth, logits: Tensor, selection: TermSelection) -> Tensor:
    """(K,) bool: keypoints whose score counts. logits: (K,) of this scene."""
    is_counted = targets.labels >= 0
    if selection.points != "exact_and_background":
        return is_counted & (selection.points == "all")
    return is_counted & _exact_or(targets.rows, truth, is_below(logits, selection.background_score))


def is_below(logits: Tensor, score: float) -> Tensor:
    """Bool of the logits' shape: their probability is below `score`."""
    return torch.sigmoid(logits.detach().float()) < score


def _exact_or(rows: Tensor, truth: Truth, otherwise: Tensor) -> Tensor:
    """Whether the matched box is exact, or `otherwise` where no box is matched (row -1)."""
    flags = torch.from_numpy(np.append(truth.is_exact, False)).to(rows.device)
    return torch.where(rows >= 0, flags[rows], otherwise)
