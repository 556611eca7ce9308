"""Against values worked out by hand, and against all pairs in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.audit import point_measures as measures

PEAK = 50.0
NOTHING = np.zeros((0, 3))
# d(p, Q) = 0, 1, 3 and d(q, P) = 0, 1.
P = np.array([[0.0, 0, 0], [2, 0, 0], [3, 0, 3]])
Q = np.array([[0.0, 0, 0], [3, 0, 0]])


def test_hand_worked_distances() -> None:
    d = measures.nearest(P, Q, PEAK)
    assert d.from_truth.tolist() == [0, 1, 3]
    assert d.from_found.tolist() == [0, 1]
    assert measures.chamfer_m(d) == pytest.approx(4 / 3 + 1 / 2)
    assert measures.hausdorff_m(d) == 3
    assert measures.hausdorff_m(d, 0.5) == 1
    assert (measures.precision(d, 0.5), measures.recall(d, 0.5)) == (0.5, pytest.approx(1 / 3))
    assert measures.f_score(d, 0.5) == pytest.approx(2 * 0.5 / 3 / (0.5 + 1 / 3))
    assert measures.f_score(d, 1.0) == pytest.approx(0.8)  # P = 1, R = 2/3
    assert measures.psnr_d1_db(d) == pytest.approx(10 * math.log10(PEAK**2 / (10 / 3)))


def test_hand_worked_voxels() -> None:
    low = np.array([-1.0, -1, -1])
    # Cubes of 2 m: P is in (0,0,0), (1,0,0), (2,0,2); Q in (0,0,0), (2,0,0).
    assert measures.voxel_iou(P, Q, 2.0, low) == pytest.approx(1 / 4)
    assert measures.voxel_iou(P, Q, 10.0, low) == 1
    assert measures.occupied_cells(P, (2.0, 2.0), low).tolist() == [[0, 0], [1, 0], [2, 0]]
    one, two = measures.occupied_cells(P, (2.0, 2.0), low), measures.occupied_cells(Q, (2.0, 2.0), low)
    assert measures.cell_shares(one, two) == (1.0, pytest.approx(2 / 3))


def test_equal_clouds_are_at_the_ceiling() -> None:
    d = measures.nearest(P, P[::-1], PEAK)
    assert (measures.chamfer_m(d), measures.hausdorff_m(d), measures.f_score(d, 0.0)) == (0, 0, 1)
    assert measures.psnr_d1_db(d) == measures.PSNR_LIMIT_DB


@pytest.mark.parametrize(("truth", "found"), [(P, NOTHING), (NOTHING, Q)])
def test_one_empty_cloud_is_as_far_away_as_the_range_is_wide(truth: np.ndarray, found: np.ndarray) -> None:
    d = measures.nearest(truth, found, PEAK)
    assert measures.chamfer_m(d) == 2 * PEAK
    assert measures.hausdorff_m(d) == measures.hausdorff_m(d, 0.95) == PEAK
    assert [measures.precision(d, 99), measures.recall(d, 99), measures.f_score(d, 99)] == [0, 0, 0]
    assert measures.psnr_d1_db(d) == 0
    assert measures.voxel_iou(truth, found, 1.0, np.zeros(3)) == 0


def test_two_empty_clouds_are_equal() -> None:
    d = measures.nearest(NOTHING, NOTHING, PEAK)
    assert (measures.chamfer_m(d), measures.hausdorff_m(d), measures.f_score(d, 0.1)) == (0, 0, 1)
    assert measures.psnr_d1_db(d) == measures.PSNR_LIMIT_DB
    assert measures.voxel_iou(NOTHING, NOTHING, 1.0, np.zeros(3)) == 1
    assert measures.cell_shares(np.zeros((0, 2), np.int64), np.zeros((0, 2), np.int64)) == (1, 1)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), n=st.integers(1, 60), m=st.integers(1, 60), scale=st.sampled_from([0.3, 3.0, 40.0]))
def test_all_pairs_in_float64_agree(seed: int, n: int, m: int, scale: float) -> None:
    generator = np.random.default_rng(seed)
    truth, found = (generator.uniform(-scale, scale, (k, 4)).astype(np.float32) for k in (n, m))
    pairs = np.sqrt(((truth[:, None, :3].astype(float) - found[None, :, :3].astype(float)) ** 2).sum(-1))
    one, two = pairs.min(1), pairs.min(0)
    d = measures.nearest(truth, found, PEAK)
    assert measures.chamfer_m(d) == pytest.approx(one.mean() + two.mean())
    assert measures.hausdorff_m(d) == pytest.approx(max(one.max(), two.max()))
    within = scale / 3
    p, r = (two <= within).mean(), (one <= within).mean()
    assert measures.f_score(d, within) == pytest.approx(2 * p * r / (p + r) if p + r else 0)
    assert measures.psnr_d1_db(d) == pytest.approx(10 * math.log10(PEAK**2 / max((one**2).mean(), (two**2).mean())))
    sets = [{tuple(math.floor(float(v) / 0.5) for v in row[:3]) for row in cloud} for cloud in (truth, found)]
    expected = len(sets[0] & sets[1]) / len(sets[0] | sets[1])
    assert measures.voxel_iou(truth, found, 0.5, np.zeros(3)) == pytest.approx(expected)


@pytest.mark.parametrize("far", [0, 2**61])
def test_unique_rows_are_those_of_numpy(far: int) -> None:
    """`far` away, rows no longer fit into one number."""
    rows = np.random.default_rng(0).integers(-5, 5, (300, 3)) + np.array([0, -7, 3])
    rows[0, 1] += far
    rows[1, 2] -= far
    found = measures._unique_rows(rows)
    assert np.array_equal(found, np.unique(rows, axis=0))
    assert found.dtype == np.int64
    assert len(measures._unique_rows(rows[:0])) == 0
