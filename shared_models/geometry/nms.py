"""Non-maximum suppression of turned boxes seen from above."""

from __future__ import annotations

import torch
from torch import Tensor

from shared_models.errors import InvalidValueError
from shared_models.geometry.boxes import check_boxes
from shared_models.geometry.overlap import area_bev, bounds_bev, overlap_bev_aligned, possible_pairs

# Boxes decided together: small blocks spare work on boxes already suppressed, large ones spare kernel launches.
_BLOCK_CPU, _BLOCK_ACCELERATOR = 256, 1024


def nms_bev(
    boxes: Tensor, scores: Tensor, iou_threshold: float, pre_max: int | None = None, post_max: int | None = None
) -> Tensor:
    """Indices of the boxes that no better kept box overlaps by more than `iou_threshold`, best first.

    boxes: (M, 7). scores: (M,); equal scores are ranked by lower index. pre_max: how many of the best boxes are looked
    at, post_max: how many are kept at most; None is no limit. Gives (K,) int64. The rule of OpenPCDet's `nms_gpu`,
    decided block by block: a block is compared with the boxes kept before it, then with itself.

    Raises:
        InvalidValueError: shapes that do not fit, a threshold outside [0, 1] or a negative limit.
    """
    _check(boxes, scores, iou_threshold, pre_max, post_max)
    order = torch.sort(scores.detach(), descending=True, stable=True).indices[:pre_max]
    ranked = boxes.detach()[order].double()
    limit = len(ranked) if post_max is None else post_max
    kept = order.new_empty(0)
    for block in torch.split(torch.arange(len(ranked), device=order.device), _block_size(boxes)):
        if len(kept) >= limit:
            break
        _, beaten = _overlapping(ranked[kept], ranked[block], iou_threshold)
        block = block[_without(len(block), beaten)]
        kept = torch.cat((kept, block[_greedy(ranked[block], iou_threshold)]))
    return order[kept[:limit]]


def _greedy(ranked: Tensor, iou_threshold: float) -> Tensor:
    """(n,) bool: which of `ranked` boxes, best first, survive each other."""
    better, worse = _overlapping(ranked, ranked, iou_threshold)
    later = better < worse
    better, worse = better[later], worse[later]
    keep = _without(len(ranked), worse)
    # Box k is decided once all better ones are, so this ends at the greedy result, mostly after a few turns.
    while True:
        decided = _without(len(ranked), worse[keep[better]])
        if torch.equal(decided, keep):
            return keep
        keep = decided


def _overlapping(a: Tensor, b: Tensor, iou_threshold: float) -> tuple[Tensor, Tensor]:
    """Index pairs (i, j) with IoU(a[i], b[j]) > `iou_threshold`."""
    found = [(torch.empty(0, dtype=torch.int64, device=a.device),) * 2]
    for i, j in possible_pairs(a, b):
        near = _may_exceed(a, b, i, j, iou_threshold)
        i, j = i[near], j[near]
        shared = overlap_bev_aligned(a[i], b[j])
        total = area_bev(a)[i] + area_bev(b)[j]
        # Divided as `iou_bev` divides, so that both agree about a pair at the threshold.
        over = torch.where(shared > 0, shared / (total - shared), 0.0) > iou_threshold
        found.append((i[over], j[over]))
    return torch.cat([i for i, _ in found]), torch.cat([j for _, j in found])


def _may_exceed(a: Tensor, b: Tensor, i: Tensor, j: Tensor, iou_threshold: float) -> Tensor:
    """(P,) bool: pairs whose IoU can exceed the threshold, from the area shared by their upright rectangles."""
    low_high_a, low_high_b = bounds_bev(a)[:, i], bounds_bev(b)[:, j]
    sides = torch.minimum(low_high_a[2:], low_high_b[2:]) - torch.maximum(low_high_a[:2], low_high_b[:2])
    area_a, area_b = area_bev(a)[i], area_bev(b)[j]
    most = torch.minimum(sides[0] * sides[1], torch.minimum(area_a, area_b))
    # IoU > t means shared > t / (1 + t) * total; the slack covers rounding.
    return most * (1 + 1e-9) >= iou_threshold / (1 + iou_threshold) * (area_a + area_b)


def _without(count: int, removed: Tensor) -> Tensor:
    keep = torch.ones(count, dtype=torch.bool, device=removed.device)
    keep[removed] = False
    return keep


def _block_size(boxes: Tensor) -> int:
    return _BLOCK_CPU if boxes.device.type == "cpu" else _BLOCK_ACCELERATOR


def _check(boxes: Tensor, scores: Tensor, iou_threshold: float, pre_max: int | None, post_max: int | None) -> None:
    check_boxes("nms_bev.boxes", boxes)
    if boxes.dim() != 2 or scores.shape != boxes.shape[:1]:
        raise InvalidValueError(
            f"nms_bev: expected boxes (M, 7) and scores (M,), got {tuple(boxes.shape)} and {tuple(scores.shape)}"
        )
    if not 0 <= iou_threshold <= 1:
        raise InvalidValueError(f"nms_bev.iou_threshold: expected 0 to 1, got {iou_threshold}")
    for name, limit in (("pre_max", pre_max), ("post_max", post_max)):
        if limit is not None and limit < 0:
            raise InvalidValueError(f"nms_bev.{name}: expected 0 or more, got {limit}")
