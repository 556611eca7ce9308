"""Intersection over union of turned boxes, from above and in space, and of boxes snapped to the nearest right angle.

Values lie in [0, 1], in the dtype of the boxes; the work is done in float64. A flat or non-finite box overlaps nothing.
No gradient flows: these are for matching, suppression and targets.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from shared_models.errors import InvalidValueError
from shared_models.geometry.boxes import check_boxes, limit_period
from shared_models.geometry.overlap import area_bev, overlap_bev_aligned, possible_pairs

_NEAREST_AT_ONCE = 1 << 16  # pairs per step of `iou_axis_aligned_nearest`, so that its buffers stay in the cache
_NEAREST_MIN_UNION = 1e-6  # square metres, OpenPCDet's floor of the denominator


def iou_bev(a: Tensor, b: Tensor) -> Tensor:
    """Bird's-eye IoU of every box of `a` with every box of `b`. a: (M, 7), b: (N, 7). Gives (M, N)."""
    return _all_pairs("iou_bev", a, b, _bev_ratio)


def iou_3d(a: Tensor, b: Tensor) -> Tensor:
    """IoU in space of every box of `a` with every box of `b`. a: (M, 7), b: (N, 7). Gives (M, N)."""
    return _all_pairs("iou_3d", a, b, _3d_ratio)


def iou_bev_aligned(a: Tensor, b: Tensor) -> Tensor:
    """Bird's-eye IoU of a[k] with b[k]. a, b: (K, 7). Gives (K,)."""
    _check_aligned("iou_bev_aligned", a, b)
    return _bev_ratio(a, b).to(a.dtype)


def iou_3d_aligned(a: Tensor, b: Tensor) -> Tensor:
    """IoU in space of a[k] with b[k]. a, b: (K, 7). Gives (K,)."""
    _check_aligned("iou_3d_aligned", a, b)
    return _3d_ratio(a, b).to(a.dtype)


def iou_axis_aligned_nearest(a: Tensor, b: Tensor) -> Tensor:
    """Bird's-eye IoU after turning every box to the nearest multiple of 90 degrees.

    a: (M, 7), b: (N, 7). Gives (M, N); its memory layout follows the longer of the two. The rule by which anchors are
    assigned (OpenPCDet, `boxes3d_nearest_bev_iou`), in the dtype of the boxes and with the same rounding.
    """
    _check_pair("iou_axis_aligned_nearest", a, b)
    if a.shape[0] > b.shape[0]:
        return iou_axis_aligned_nearest(b, a).t()
    few, many = _nearest_rectangles(a.detach()), _nearest_rectangles(b.detach())
    iou = few.new_empty((a.shape[0], b.shape[0]))
    step = max(1, _NEAREST_AT_ONCE // max(1, a.shape[0]))
    for start in range(0, b.shape[0], step):
        iou[:, start : start + step] = _rectangle_iou(few[:, :, None], many[:, None, start : start + step])
    return iou


def _all_pairs(name: str, a: Tensor, b: Tensor, ratio: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    _check_pair(name, a, b)
    iou = torch.zeros((a.shape[0], b.shape[0]), dtype=a.dtype, device=a.device)
    for i, j in possible_pairs(a, b):
        iou[i, j] = ratio(a[i], b[j]).to(a.dtype)
    return iou


def _bev_ratio(a: Tensor, b: Tensor) -> Tensor:
    return _ratio(overlap_bev_aligned(a, b), area_bev(a), area_bev(b))


def _3d_ratio(a: Tensor, b: Tensor) -> Tensor:
    (za, ha), (zb, hb) = (boxes.detach()[:, (2, 5)].double().unbind(1) for boxes in (a, b))
    top, bottom = torch.minimum(za + ha / 2, zb + hb / 2), torch.maximum(za - ha / 2, zb - hb / 2)
    # Heights of rounded tops and bottoms can exceed the box by an ulp.
    height = torch.minimum((top - bottom).clamp(min=0), torch.minimum(ha, hb))
    return _ratio(overlap_bev_aligned(a, b) * height, area_bev(a) * ha, area_bev(b) * hb)


def _ratio(shared: Tensor, size_a: Tensor, size_b: Tensor) -> Tensor:
    return torch.where(shared > 0, shared / (size_a + size_b - shared), 0.0)


def _nearest_rectangles(boxes: Tensor) -> Tensor:
    """(4, M) `[x_min y_min x_max y_max]` after snapping the yaw to the nearest right angle."""
    turn = limit_period(boxes[:, 6], 0.5, math.pi).abs()
    sizes = torch.where((turn < math.pi / 4)[:, None], boxes[:, 3:5], boxes[:, (4, 3)])
    return torch.cat((boxes[:, :2] - sizes / 2, boxes[:, :2] + sizes / 2), dim=1).t().contiguous()


def _rectangle_iou(a: Tensor, b: Tensor) -> Tensor:
    width = (torch.minimum(a[2], b[2]) - torch.maximum(a[0], b[0])).clamp_(min=0)
    shared = (torch.minimum(a[3], b[3]) - torch.maximum(a[1], b[1])).clamp_(min=0).mul_(width)
    area_a, area_b = ((r[2] - r[0]) * (r[3] - r[1]) for r in (a, b))
    return shared / (area_a + area_b - shared).clamp_(min=_NEAREST_MIN_UNION)


def _check_pair(name: str, a: Tensor, b: Tensor) -> None:
    for side, boxes in (("a", a), ("b", b)):
        check_boxes(f"{name}.{side}", boxes)
        if boxes.dim() != 2:
            raise InvalidValueError(f"{name}.{side}: expected boxes (M, 7), got shape {tuple(boxes.shape)}")


def _check_aligned(name: str, a: Tensor, b: Tensor) -> None:
    _check_pair(name, a, b)
    if a.shape != b.shape:
        raise InvalidValueError(f"{name}: expected as many boxes in a as in b, got {a.shape[0]} and {b.shape[0]}")
