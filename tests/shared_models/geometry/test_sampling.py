from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shared_models.errors import InvalidValueError
from shared_models.geometry.sampling import _sample, farthest_point_sampling


def _slow(points: np.ndarray, count: int) -> list[int]:
    """The rule point by point, rounded to float32 after each operation."""
    chosen = [0]
    distance = [np.float32(np.inf)] * len(points)
    while len(chosen) < count:
        centre = points[chosen[-1]]
        for index, point in enumerate(points):
            dx, dy, dz = (point[k] - centre[k] for k in range(3))
            distance[index] = min(distance[index], (dx * dx + dy * dy) + dz * dz)
        chosen.append(max(range(len(points)), key=lambda k: (distance[k], -k)))
    return chosen


def _scan(count: int, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.normal(0, [20, 10, 1], (count, 3)).astype(np.float32)


@pytest.mark.parametrize(("points", "count"), [(1, 1), (2, 2), (40, 40), (255, 30), (256, 30), (257, 30), (900, 60)])
def test_equals_the_slow_loop(points: int, count: int) -> None:
    scan = _scan(points)
    expected = _slow(scan, count)
    assert farthest_point_sampling(torch.from_numpy(scan), count).tolist() == expected
    assert _sample(torch.from_numpy(scan).t().contiguous(), count).tolist() == expected


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.integers(1, 700), st.integers(1, 60), st.integers(1, 12), st.integers(0, 2**31))
def test_ties_go_to_the_lowest_index(points: int, count: int, cells: int, seed: int) -> None:
    # On a coarse grid most points have copies and most distances are shared.
    scan = np.random.default_rng(seed).integers(0, cells, (points, 3)).astype(np.float32)
    count = min(points, count)
    plain = _sample(torch.from_numpy(scan).t().contiguous(), count)
    assert torch.equal(farthest_point_sampling(torch.from_numpy(scan), count), plain)


def test_ties_equal_the_slow_loop() -> None:
    scan = np.random.default_rng(3).integers(0, 4, (300, 3)).astype(np.float32)
    assert farthest_point_sampling(torch.from_numpy(scan), 80).tolist() == _slow(scan, 80)


def test_large_scan_equals_the_plain_loop() -> None:
    scan = torch.from_numpy(_scan(20_000, 1))
    assert torch.equal(farthest_point_sampling(scan, 512), _sample(scan.t().contiguous(), 512))


def test_far_from_the_origin_equals_the_plain_loop() -> None:
    scan = torch.from_numpy(_scan(3_000, 2)) + torch.tensor([1e6, -1e6, 0])  # distances are multiples of 1/16 here
    assert torch.equal(farthest_point_sampling(scan, 300), _sample(scan.t().contiguous(), 300))


def test_too_few_points_are_repeated_in_order() -> None:
    scan = torch.from_numpy(_scan(5))
    once = farthest_point_sampling(scan, 5).tolist()
    assert sorted(once) == [0, 1, 2, 3, 4]
    assert farthest_point_sampling(scan, 12).tolist() == once + once + once[:2]


def test_copies_of_one_point() -> None:
    assert farthest_point_sampling(torch.ones(600, 4), 5).tolist() == [0] * 5


@pytest.mark.parametrize(("points", "count"), [(0, 0), (0, 7), (7, 0)])
def test_nothing_to_choose(points: int, count: int) -> None:
    chosen = farthest_point_sampling(torch.zeros(points, 4), count)
    assert chosen.shape == (0,)
    assert chosen.dtype == torch.int64


def test_further_columns_and_strides_do_not_matter() -> None:
    scan = torch.from_numpy(_scan(500))
    wide = torch.cat((scan, torch.full((500, 2), 1e6)), 1)
    assert torch.equal(farthest_point_sampling(wide, 50), farthest_point_sampling(scan, 50))
    strided = scan.t().contiguous().t()
    assert torch.equal(farthest_point_sampling(strided, 50), farthest_point_sampling(scan, 50))


@pytest.mark.data
def test_golden_keypoints(golden_root) -> None:
    folder = golden_root / "pv_rcnn_kitti"
    points = torch.from_numpy(np.load(folder / "points.npy"))
    expected = torch.from_numpy(np.load(folder / "expected.npz")["point_coords.full"])
    x, y = points[:, 0], points[:, 1]
    points = points[(x >= 0) & (x <= 70.4) & (y >= -40) & (y <= 40)]
    chosen = farthest_point_sampling(points, 2048)
    assert torch.equal(points[chosen, :3], expected[:, 1:])


def test_wrong_input_is_refused() -> None:
    with pytest.raises(InvalidValueError, match=r"got \(5, 2\) and 3"):
        farthest_point_sampling(torch.zeros(5, 2), 3)
    with pytest.raises(InvalidValueError, match="and -1"):
        farthest_point_sampling(torch.zeros(5, 3), -1)
    with pytest.raises(InvalidValueError, match="not finite"):
        farthest_point_sampling(torch.tensor([[0.0, 0, 0], [torch.nan, 0, 0]]), 2)
