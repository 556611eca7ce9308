"""Anchors: box templates at every cell of the bird's-eye map."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchorClass:
    """One class's anchors and how labels are matched to them.

    name: class in the dataset's words.
    size_m: length, width, height.
    bottom_m: height of the box's bottom face, LiDAR frame.
    yaws_rad: rotations at each cell.
    matched_iou, unmatched_iou: positive from the first on, negative below the second (nearest-axis BEV IoU).
    """

    name: str = "Car"
    size_m: tuple[float, float, float] = (3.9, 1.6, 1.56)
    bottom_m: float = -1.78
    yaws_rad: tuple[float, ...] = (0.0, 1.57)
    matched_iou: float = 0.6
    unmatched_iou: float = 0.45


def make_anchors(
    classes: tuple[AnchorClass, ...], point_range_m: tuple[float, ...], bev_shape: tuple[int, int]
) -> Tensor:
    """(Y * X * A, 7) float32 boxes in the order (y, x, class, rotation), LiDAR frame.

    Cells are spread over the whole range, borders included (OpenPCDet's `align_center: False`), so neighbours are
    range / (cells - 1) apart.
    """
    low_x, low_y, _, high_x, high_y, _ = point_range_m
    height, width = bev_shape
    x = low_x + torch.arange(width, dtype=torch.float64) * ((high_x - low_x) / (width - 1))
    y = low_y + torch.arange(height, dtype=torch.float64) * ((high_y - low_y) / (height - 1))
    templates = [(*kind.size_m, yaw, kind.bottom_m + kind.size_m[2] / 2) for kind in classes for yaw in kind.yaws_rad]
    template = torch.tensor(templates, dtype=torch.float64)
    anchors = torch.empty(height, width, len(templates), 7, dtype=torch.float64)
    anchors[..., 0] = x[None, :, None]
    anchors[..., 1] = y[:, None, None]
    anchors[..., 2] = template[:, 4]
    anchors[..., 3:7] = template[:, :4]
    return anchors.view(-1, 7).float()
