from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from shared_models.geometry import overlap as overlap_module
from shared_models.geometry.boxes import points_in_boxes_mask
from shared_models.geometry.overlap import area_bev, overlap_bev_aligned, possible_pairs

SQUARE = (0, 0, 0, 1, 1, 1, 0)
OCTAGON = 2 * math.sqrt(2) - 2  # what a unit square shares with itself turned by 45 degrees


def _pair(a: tuple[float, ...], b: tuple[float, ...]) -> tuple[Tensor, Tensor]:
    return torch.tensor([a], dtype=torch.float64), torch.tensor([b], dtype=torch.float64)


@pytest.mark.parametrize(
    ("a", "b", "area"),
    [
        (SQUARE, SQUARE, 1),
        (SQUARE, (0, 0, 0, 1, 1, 1, math.pi / 4), OCTAGON),
        (SQUARE, (0, 0, 0, 1, 1, 1, math.pi / 2), 1),
        (SQUARE, (0.25, 0.5, 9, 1, 1, 1, 0), 0.375),
        ((0, 0, 0, 4, 2, 1, 0.7), (0, 0, 0, 1, 0.5, 1, -2.1), 0.5),  # contained
        ((0, 0, 0, 4, 1, 1, 0), (0, 0, 0, 4, 1, 1, math.pi / 2), 1),  # a cross
        ((0, 0, 0, 2, 2, 1, 0), (1, 1, 0, math.sqrt(2), math.sqrt(2), 1, math.pi / 4), 0.5),  # a corner in the middle
        (SQUARE, (1, 0, 0, 1, 1, 1, 0), 0),  # touching along an edge
        (SQUARE, (1, 1, 0, 1, 1, 1, 0), 0),  # touching in a corner
        (SQUARE, (0.5 + math.sqrt(0.5), 0, 0, 1, 1, 1, math.pi / 4), 0),  # a corner touching an edge
        (SQUARE, (5, 5, 0, 1, 1, 1, 1), 0),
        (SQUARE, (0, 0, 0, 0, 1, 1, 0.3), 0),  # a line
        (SQUARE, (0, 0, 0, 0, 0, 0, 0), 0),
        ((0, 0, 0, 0, 0, 0, 0), (0, 0, 0, 0, 0, 0, 0), 0),
    ],
)
def test_areas_worked_out_by_hand(a: tuple[float, ...], b: tuple[float, ...], area: float) -> None:
    p, q = _pair(a, b)
    assert overlap_bev_aligned(p, q).item() == pytest.approx(area, abs=1e-14)
    assert overlap_bev_aligned(q, p).item() == pytest.approx(area, abs=1e-14)
    if area == 0:
        assert overlap_bev_aligned(p, q).item() == 0  # exactly: `> 0` decides about collisions


@pytest.mark.parametrize("yaw", [0.0, 0.1, 1.0, math.pi / 4, 3.0])
@pytest.mark.parametrize("shift", [0.0, 1e-300, 1e-17, 1e-12, 1e-9])
@pytest.mark.parametrize("turn", [0.0, 1e-300, 1e-17, 1e-12, 1e-9, math.pi])
def test_almost_equal_boxes(yaw: float, shift: float, turn: float) -> None:
    a, b = _pair((3, -2, 0, 4, 2, 1, yaw), (3 + shift, -2 - shift, 0, 4, 2, 1, yaw + turn))
    assert overlap_bev_aligned(a, b).item() == pytest.approx(8, abs=4 * 2e-9 + 1e-13)


@pytest.mark.parametrize("yaw", [0.0, 0.3, 1.2, -2.7])
def test_turned_boxes_that_touch_share_nothing(yaw: float) -> None:
    ahead = (3 * math.cos(yaw), 3 * math.sin(yaw))
    a, b = _pair((0, 0, 0, 4, 2, 1, yaw), (*ahead, 0, 2, 2, 1, yaw + math.pi))
    assert overlap_bev_aligned(a, b).item() == 0


def test_far_from_the_origin(slow_iou) -> None:
    near = _pair((0, 0, 0, 4, 2, 1, 0.5), (1, 0.5, 0, 4, 2, 1, -0.8))
    far = tuple(box + torch.tensor([2.0**30, -(2.0**29), 0, 0, 0, 0, 0], dtype=torch.float64) for box in near)
    assert overlap_bev_aligned(*far).item() == pytest.approx(overlap_bev_aligned(*near).item(), rel=1e-12)


def test_tiny_and_huge_boxes() -> None:
    a, b = _pair((0, 0, 0, 1e9, 1e9, 1, 0.3), (10, -20, 0, 1e-6, 2e-6, 1, 1.0))
    assert overlap_bev_aligned(a, b).item() == pytest.approx(2e-12, rel=1e-9)
    assert overlap_bev_aligned(b, a).item() == pytest.approx(2e-12, rel=1e-9)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("column", [0, 3, 6])
def test_a_box_that_is_not_finite_shares_nothing(bad: float, column: int) -> None:
    a, b = _pair(SQUARE, SQUARE)
    a[0, column] = bad
    assert overlap_bev_aligned(a, b).item() == 0
    assert overlap_bev_aligned(b, a).item() == 0


def test_agrees_with_counting_grid_points(random_boxes) -> None:
    a, b = random_boxes(12, 3, 3.0), random_boxes(12, 4, 3.0)
    a[:, 2], b[:, 2] = 0, 0
    step = 0.02
    line = torch.arange(-5, 5, step) + step / 2
    grid = torch.cartesian_prod(line, line, torch.zeros(1))
    both = points_in_boxes_mask(grid, a) & points_in_boxes_mask(grid, b)
    counted = both.sum(0).double() * step**2
    torch.testing.assert_close(overlap_bev_aligned(a, b), counted, atol=0.03, rtol=0)
    assert counted.max() > 1


def test_steps_do_not_change_the_result(random_boxes, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = random_boxes(50, 5), random_boxes(50, 6)
    whole = overlap_bev_aligned(a, b)
    pairs = [torch.cat(side) for side in zip(*possible_pairs(a, b), strict=True)]
    monkeypatch.setattr(overlap_module, "_AREAS_AT_ONCE", 7)
    monkeypatch.setattr(overlap_module, "_TESTS_AT_ONCE", 130)
    assert torch.equal(overlap_bev_aligned(a, b), whole)
    stepped = [torch.cat(side) for side in zip(*possible_pairs(a, b), strict=True)]
    assert torch.equal(stepped[0], pairs[0])
    assert torch.equal(stepped[1], pairs[1])


def test_possible_pairs_miss_no_overlap(random_boxes) -> None:
    a, b = random_boxes(40, 7, 30.0), random_boxes(60, 8, 30.0)
    i, j = (torch.cat(side) for side in zip(*possible_pairs(a, b), strict=True))
    possible = torch.zeros((40, 60), dtype=torch.bool)
    possible[i, j] = True
    every = torch.cartesian_prod(torch.arange(40), torch.arange(60))
    shared = overlap_bev_aligned(a[every[:, 0]], b[every[:, 1]]).reshape(40, 60)
    assert not bool((shared[~possible] > 0).any())
    assert 0 < int((shared > 0).sum()) <= len(i) < 40 * 60 / 4


def test_empty_input() -> None:
    none = torch.zeros(0, 7)
    assert overlap_bev_aligned(none, none).shape == (0,)
    assert area_bev(none).shape == (0,)
    assert all(len(i) == 0 for i, _ in possible_pairs(none, torch.ones(3, 7)))
