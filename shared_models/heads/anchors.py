"""Anchors: box templates at every cell of the bird's-eye map."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from shared_models.errors import InvalidValueError
from shared_models.records import check

MAX_ANCHORS = 2**22  # of one map; the Waymo setting has 212,064


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

    def __post_init__(self) -> None:
        check.name("AnchorClass", "name", self.name, 64)
        check.number("AnchorClass", "size_m", self.size_m, 0.01, 1000)
        check.number("AnchorClass", "bottom_m", self.bottom_m, -1000, 1000)
        check.entries("AnchorClass", 16, yaws_rad=self.yaws_rad)
        check.number("AnchorClass", "yaws_rad", self.yaws_rad, -10, 10)
        check.number("AnchorClass", "matched_iou", self.matched_iou, 0, 1)
        check.number("AnchorClass", "unmatched_iou", self.unmatched_iou, 0, self.matched_iou)


def make_anchors(
    classes: tuple[AnchorClass, ...], point_range_m: tuple[float, ...], bev_shape: tuple[int, int]
) -> Tensor:
    """(Y * X * A, 7) float32 boxes in the order (y, x, class, rotation), LiDAR frame.

    Cells are spread over the whole range, borders included (OpenPCDet's `align_center: False`), so neighbours are
    range / (cells - 1) apart.

    Raises:
        InvalidValueError: a map of fewer than 2 x 2 cells, or more than `MAX_ANCHORS` anchors.
    """
    low_x, low_y, _, high_x, high_y, _ = point_range_m
    height, width = bev_shape
    count = height * width * sum(len(kind.yaws_rad) for kind in classes)
    if min(bev_shape) < 2 or count > MAX_ANCHORS:
        raise InvalidValueError(
            f"anchors: expected a map of at least 2 x 2 cells and at most {MAX_ANCHORS} anchors, "
            f"got {height} x {width} cells and {count} anchors; change the range or the voxel size"
        )
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
