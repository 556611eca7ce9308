"""Which anchors stand for which object: SECOND's assignment as OpenPCDet's AxisAlignedTargetAssigner does it.

Class by class, by bird's-eye IoU of boxes turned to the nearest right angle. An anchor is positive from `matched_iou`
on, or if no anchor overlaps an object more; negative below `unmatched_iou`; anything else is ignored. Negatives are not
sampled. An object that no anchor overlaps gets none. Small arrays are handled by numpy: torch would wake threads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from server.training.samples import Truth
from shared_models.errors import InvalidValueError
from shared_models.geometry import box_coding
from shared_models.geometry.boxes import limit_period
from shared_models.geometry.iou import iou_axis_aligned_nearest
from shared_models.heads.anchor_head import DIRECTION_BINS
from shared_models.heads.anchors import AnchorClass, make_anchors

Ints = NDArray[np.int64]

_SLACK_M = 1e-3  # windows are this much wider than boxes reach, so that rounding loses no anchor


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchorLayout:
    """Anchors of one map, on the CPU, and where they lie.

    classes: in the order of labels. anchors: (N, 7) float32 in the order (y, x, class, rotation).
    xs_m, ys_m: (X,) and (Y,) float64 positions of columns and rows, ascending.
    """

    classes: tuple[AnchorClass, ...]
    anchors: Tensor
    xs_m: NDArray[np.float64]
    ys_m: NDArray[np.float64]

    @property
    def per_cell(self) -> int:
        """Anchors at each cell."""
        return sum(len(kind.yaws_rad) for kind in self.classes)

    def columns(self, label: int) -> Ints:
        """Numbers of a class's anchors within their cell."""
        first = sum(len(kind.yaws_rad) for kind in self.classes[:label])
        return np.arange(first, first + len(self.classes[label].yaws_rad))

    def of_class(self, label: int) -> Ints:
        """Numbers of all anchors of a class, ascending."""
        cells = np.arange(len(self.xs_m) * len(self.ys_m))[:, None] * self.per_cell
        numbers: Ints = (cells + self.columns(label)).ravel()
        return numbers

    def near(self, label: int, boxes: NDArray[np.float32]) -> Ints:
        """Numbers of a class's anchors that can overlap one of `boxes` (M, 7), ascending: all that do, and few more."""
        kind, columns = self.classes[label], self.columns(label)
        found = [np.zeros(0, np.int64)]
        for half_x, half_y, own in _anchor_halves(kind, columns):
            for x, y, reach_x, reach_y in _rectangles(boxes):
                width, height = reach_x + half_x + _SLACK_M, reach_y + half_y + _SLACK_M
                x0, x1 = np.searchsorted(self.xs_m, (x - width, x + width))
                y0, y1 = np.searchsorted(self.ys_m, (y - height, y + height))
                cells = np.arange(y0, y1)[:, None] * len(self.xs_m) + np.arange(x0, x1)
                found.append(cells.ravel() * self.per_cell + own)
        return np.unique(np.concatenate(found))


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchorTargets:
    """What the anchor head should answer for one scene: N anchors, P of them positive; all on the CPU.

    labels: (N,) int64: class index + 1 positive, 0 negative, -1 ignored.
    positive_index: (P,) int64, ascending anchor numbers. positive_row: (P,) int64, each one's row in the truth.
    box_targets: (P, 7) float32 box codes. direction_targets: (P,) int64 direction bins.
    """

    labels: Tensor
    positive_index: Tensor
    positive_row: Tensor
    box_targets: Tensor
    direction_targets: Tensor


@lru_cache(maxsize=8)
def anchor_layout(
    classes: tuple[AnchorClass, ...], point_range_m: tuple[float, ...], bev_shape: tuple[int, int]
) -> AnchorLayout:
    """The anchors of a detector; arguments as in `make_anchors`. Made once for each map."""
    with torch.device("cpu"):
        anchors = make_anchors(classes, point_range_m, bev_shape)
    table = anchors.view(*bev_shape, -1, 7).double().numpy()
    return AnchorLayout(classes=classes, anchors=anchors, xs_m=table[0, :, 0, 0], ys_m=table[:, 0, 0, 1])


def assign_anchors(layout: AnchorLayout, truth: Truth, direction_offset_rad: float = 0.78539) -> AnchorTargets:
    """Targets of every anchor.

    Boxes that the truth ignores match nothing; anchors of their class that overlap one by `unmatched_iou` or more and
    are not positive are ignored.

    Args:
        direction_offset_rad: where the first direction bin begins.

    Raises:
        InvalidValueError: a label that is no class of the layout.
    """
    known = range(len(layout.classes))
    if not set(truth.labels.tolist()) <= set(known):
        came = sorted(set(truth.labels.tolist()))
        raise InvalidValueError(f"assign_anchors: expected labels of 0 to {known[-1]}, got {came}")
    labels = np.zeros(len(layout.anchors), np.int64)
    found = [_assign_class(layout, truth, label, labels) for label in known]
    positive, rows = (np.concatenate(part) for part in zip(*found, strict=True))
    order = np.argsort(positive)
    index, matched = torch.from_numpy(positive[order]), torch.from_numpy(rows[order])
    boxes = torch.from_numpy(truth.boxes)[matched]
    return AnchorTargets(
        labels=torch.from_numpy(labels),
        positive_index=index,
        positive_row=matched,
        box_targets=box_coding.encode(boxes, layout.anchors[index]),
        direction_targets=direction_bins(boxes[:, 6], direction_offset_rad),
    )


def direction_bins(yaw_rad: Tensor, offset_rad: float) -> Tensor:
    """(P,) int64: which part of the turn, counted from the offset, each yaw (P,) lies in."""
    period = 2 * math.pi / DIRECTION_BINS
    turned = limit_period(yaw_rad - offset_rad, 0.0, 2 * math.pi)
    return torch.floor(turned / period).long().clamp(0, DIRECTION_BINS - 1)


def touched_anchors(layout: AnchorLayout, boxes: NDArray[np.float32]) -> Tensor:
    """(N,) bool: anchors of any class that share any area with one of `boxes` (M, 7), both turned to right angles."""
    touched = np.zeros(len(layout.anchors), dtype=bool)
    for label in range(len(layout.classes)):
        near, overlap = _overlaps(layout, boxes, label)
        touched[near] = (overlap > 0).any(1)
    return torch.from_numpy(touched)


def _assign_class(layout: AnchorLayout, truth: Truth, label: int, labels: Ints) -> tuple[Ints, Ints]:
    """Writes the labels of one class's anchors; gives the numbers and truth rows of its positives."""
    kind = layout.classes[label]
    unsure, overlap = _overlaps(layout, truth.boxes[(truth.labels == label) & truth.is_ignored], label)
    labels[unsure[(overlap >= kind.unmatched_iou).any(1)]] = -1
    rows = np.flatnonzero((truth.labels == label) & ~truth.is_ignored)
    near, overlap = _overlaps(layout, truth.boxes[rows], label)
    if len(near) == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    best, largest = overlap.max(1), overlap.max(0)
    labels[near[best >= kind.unmatched_iou]] = -1
    is_forced = ((overlap == largest) & (largest > 0)).any(1)
    is_positive = is_forced | (best >= kind.matched_iou)
    labels[near[is_positive]] = label + 1
    # Upstream's rule: a forced anchor, too, takes the object that it overlaps most, which may be another one.
    return near[is_positive], rows[overlap.argmax(1)[is_positive]]


def _overlaps(layout: AnchorLayout, boxes: NDArray[np.float32], label: int) -> tuple[Ints, NDArray[np.float32]]:
    """Numbers (n,) of a class's anchors in reach of `boxes` (M, 7), and their (n, M) overlaps; without boxes, none."""
    if len(boxes) == 0:
        return np.zeros(0, np.int64), np.zeros((0, 0), np.float32)
    # Anchors out of reach overlap by 0, which only a threshold of 0 does not call negative.
    is_reach_enough = layout.classes[label].unmatched_iou > 0
    near = layout.near(label, boxes) if is_reach_enough else layout.of_class(label)
    overlap = iou_axis_aligned_nearest(layout.anchors[torch.from_numpy(near)], torch.from_numpy(boxes))
    return near, overlap.numpy()


def _anchor_halves(kind: AnchorClass, columns: Ints) -> list[tuple[float, float, int]]:
    """Half-sizes in x and y of a class's anchors turned to right angles, with each one's number in its cell."""
    anchors = np.array([(0.0, 0.0, 0.0, *kind.size_m, yaw) for yaw in kind.yaws_rad])
    return [(*row[2:], int(own)) for row, own in zip(_rectangles(anchors), columns, strict=True)]


def _rectangles(boxes: NDArray[Any]) -> list[tuple[float, float, float, float]]:
    """Centre and half-sizes in x and y of boxes (M, 7) turned to the nearest right angle.

    Within rounding of 45 degrees both ways to turn are possible, so the longer half is taken for both axes.
    """
    turn = np.abs((boxes[:, 6] + math.pi / 2) % math.pi - math.pi / 2)
    halves = boxes[:, 3:5].astype(np.float64) / 2
    turned = np.where((turn < math.pi / 4)[:, None], halves, halves[:, ::-1])
    either = np.abs(turn - math.pi / 4) < 1e-3
    turned = np.where(either[:, None], halves.max(1, keepdims=True), turned)
    return [(float(x), float(y), float(a), float(b)) for (x, y), (a, b) in zip(boxes[:, :2], turned, strict=True)]
