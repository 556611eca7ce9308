from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from shared_models.errors import InvalidValueError
from shared_models.geometry import neighbours as neighbours_module
from shared_models.geometry.neighbours import ball_query


def _slow(centres: Tensor, points: Tensor, radius_m: float, width: int) -> tuple[list[list[int]], list[bool]]:
    """The scan in index order, rounded to float32 after each operation."""
    limit = np.float32(radius_m) * np.float32(radius_m)
    rows, empty = [], []
    for centre in centres.numpy():
        found: list[int] = []
        for index, point in enumerate(points.numpy()):
            dx, dy, dz = centre - point
            if (dx * dx + dy * dy) + dz * dz < limit:
                found.append(index)
            if len(found) == width:
                break
        empty.append(not found)
        rows.append((found + found[:1] * width)[:width] if found else [0] * width)
    return rows, empty


def _check(centres: Tensor, points: Tensor, radius_m: float, width: int) -> None:
    indices, is_empty = ball_query(centres, points, radius_m, width)
    assert indices.dtype == torch.int64
    assert (indices.tolist(), is_empty.tolist()) == _slow(centres, points, radius_m, width)


def _cloud(count: int, seed: int, spread_m: float = 10.0) -> Tensor:
    scale = torch.tensor([spread_m, spread_m, 2.0])
    return (torch.rand((count, 3), generator=torch.Generator().manual_seed(seed)) - 0.5) * scale


@pytest.mark.parametrize("radius_m", [0.05, 0.8, 2.4, 30.0])
@pytest.mark.parametrize("width", [1, 16, 700])
def test_equals_the_slow_scan(radius_m: float, width: int) -> None:
    _check(_cloud(40, 1, 14.0), _cloud(600, 2), radius_m, width)


def test_result_does_not_depend_on_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours_module, "_PAIRS_AT_ONCE", 50)  # also below what a single centre needs
    _check(_cloud(60, 3), _cloud(500, 4), 1.5, 8)
    monkeypatch.setattr(neighbours_module, "_LARGEST_KEY", 0)  # without strips
    _check(_cloud(60, 3), _cloud(500, 4), 1.5, 8)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.integers(1, 20), st.integers(1, 80), st.integers(1, 12), st.integers(1, 6), st.integers(0, 2**31))
def test_borders_on_a_grid(centres: int, points: int, cells: int, radius: int, seed: int) -> None:
    # Whole coordinates: many distances equal the radius exactly (and are outside), many points share a strip's border.
    generator = np.random.default_rng(seed)
    draw = [
        torch.from_numpy(generator.integers(-cells, cells + 1, (n, 3)).astype(np.float32)) for n in (centres, points)
    ]
    _check(draw[0], draw[1], float(radius), 4)


def test_large_query_equals_every_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    centres, points = _cloud(1500, 5, 70.0), _cloud(5000, 6, 70.0)
    quick = ball_query(centres, points, 1.6, 16)
    monkeypatch.setattr(neighbours_module, "_LARGEST_KEY", 0)
    plain = ball_query(centres, points, 1.6, 16)
    assert torch.equal(quick[0], plain[0])
    assert torch.equal(quick[1], plain[1])
    assert 0 < int(quick[1].sum()) < 1500


def test_many_pairs_need_wide_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    centres, points = _cloud(30_000, 7, 100.0), _cloud(80_000, 8, 100.0)  # 2.4e9 pairs do not fit 32 bits
    indices, is_empty = ball_query(centres, points, 0.3, 2)
    some = torch.arange(0, 30_000, 997)
    monkeypatch.setattr(neighbours_module, "_LARGEST_KEY", 0)
    plain = ball_query(centres[some], points, 0.3, 2)
    assert torch.equal(indices[some], plain[0])
    assert torch.equal(is_empty[some], plain[1])


@pytest.mark.parametrize("wild", [1e6, 1e30, torch.inf, -torch.inf, torch.nan])
def test_wild_coordinates(wild: float) -> None:
    centres, points = _cloud(20, 9), _cloud(200, 10)
    expected = ball_query(centres, points, 1.0, 4)
    far = centres.clone()
    far[3, 0], far[5, 1], far[7, 2] = wild, wild, wild
    indices, is_empty = ball_query(far, points, 1.0, 4)
    usual = torch.tensor([k not in (3, 5, 7) for k in range(20)])
    assert torch.equal(indices[usual], expected[0][usual])
    assert bool(is_empty[~usual].all())
    more = torch.cat((points, torch.tensor([[wild, 0, 0], [0, wild, 0], [0, 0, wild]])))
    indices, is_empty = ball_query(centres, more, 1.0, 4)
    assert torch.equal(indices, expected[0])
    assert torch.equal(is_empty, expected[1])


@pytest.mark.parametrize(("centres", "points"), [(0, 5), (5, 0), (0, 0)])
def test_empty_input(centres: int, points: int) -> None:
    indices, is_empty = ball_query(torch.zeros(centres, 3), torch.zeros(points, 3), 1.0, 4)
    assert indices.tolist() == [[0] * 4] * centres
    assert is_empty.tolist() == [True] * centres


@pytest.mark.parametrize(
    ("centres", "points", "radius_m", "width", "message"),
    [
        ((2, 4), (3, 3), 1.0, 4, r"ball_query.centres: .* got \(2, 4\)"),
        ((2, 3), (3, 2), 1.0, 4, r"ball_query.points: .* got \(3, 2\)"),
        ((2, 3), (3, 3), 0.0, 4, "got 0.0 m and 4"),
        ((2, 3), (3, 3), float("nan"), 4, "got nan m and 4"),
        ((2, 3), (3, 3), 1.0, 0, "got 1.0 m and 0"),
    ],
)
def test_wrong_input_is_refused(
    centres: tuple[int, int], points: tuple[int, int], radius_m: float, width: int, message: str
) -> None:
    with pytest.raises(InvalidValueError, match=message):
        ball_query(torch.zeros(centres), torch.zeros(points), radius_m, width)
