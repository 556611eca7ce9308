"""Slow, independent references and random boxes for the geometry tests."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

Corner = tuple[float, float]
Box = Sequence[float]


def _corners(box: Box) -> list[Corner]:
    x, y, _, length, width, _, yaw = box
    signs = ((0.5, 0.5), (-0.5, 0.5), (-0.5, -0.5), (0.5, -0.5))
    cos, sin = math.cos(yaw), math.sin(yaw)
    return [(x + i * length * cos - j * width * sin, y + i * length * sin + j * width * cos) for i, j in signs]


def _cut(polygon: list[Corner], start: Corner, end: Corner) -> list[Corner]:
    """The part of a polygon to the left of the line from `start` to `end` (Sutherland and Hodgman 1974)."""

    def side(point: Corner) -> float:
        return (end[0] - start[0]) * (point[1] - start[1]) - (end[1] - start[1]) * (point[0] - start[0])

    kept: list[Corner] = []
    for before, here in zip(polygon[-1:] + polygon[:-1], polygon, strict=True):
        s, t = side(before), side(here)
        if (s < 0) != (t < 0):
            share = s / (s - t)
            kept.append((before[0] + share * (here[0] - before[0]), before[1] + share * (here[1] - before[1])))
        if t >= 0:
            kept.append(here)
    return kept


def _shared_area(a: Box, b: Box) -> float:
    polygon, window = _corners(a), _corners(b)
    for k in range(4):
        polygon = _cut(polygon, window[k], window[(k + 1) % 4])
    turned = polygon[1:] + polygon[:1]
    return abs(sum(p[0] * q[1] - q[0] * p[1] for p, q in zip(polygon, turned, strict=True))) / 2


def _slow_iou(a: Box, b: Box, in_space: bool) -> float:
    shared, size_a, size_b = _shared_area(a, b), a[3] * a[4], b[3] * b[4]
    if in_space:
        top, bottom = min(a[2] + a[5] / 2, b[2] + b[5] / 2), max(a[2] - a[5] / 2, b[2] - b[5] / 2)
        shared, size_a, size_b = shared * max(0.0, top - bottom), size_a * a[5], size_b * b[5]
    return shared / (size_a + size_b - shared)


@pytest.fixture(scope="session")
def slow_iou() -> Callable[[Tensor, Tensor, bool], Tensor]:
    """IoU of all pairs by polygon clipping in Python floats: `slow_iou(a, b, in_space)` gives (M, N) float64."""

    def iou(a: Tensor, b: Tensor, in_space: bool = False) -> Tensor:
        rows = [[_slow_iou(p, q, in_space) for q in b.tolist()] for p in a.tolist()]
        return torch.tensor(rows, dtype=torch.float64).reshape(len(a), len(b))

    return iou


@pytest.fixture(scope="session")
def random_boxes() -> Callable[..., Tensor]:
    """`random_boxes(count, seed, spread_m)` gives (count, 7) float32 boxes of road users within the square."""

    def make(count: int, seed: int = 0, spread_m: float = 10.0) -> Tensor:
        unit = torch.rand((count, 7), generator=torch.Generator().manual_seed(seed))
        low = torch.tensor([-spread_m / 2, -spread_m / 2, -1.0, 0.5, 0.5, 1.0, -7.0])
        high = torch.tensor([spread_m / 2, spread_m / 2, 1.0, 5.0, 2.5, 2.0, 7.0])
        return low + unit * (high - low)

    return make
