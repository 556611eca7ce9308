from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from server.training.array_geometry import overlaps_bev
from server.training.features.feature_ground_truth import FeatureGroundTruth, FeatureGroundTruthConfig
from server.training.features.scene import FeatureScan
from server.training.samples import Truth
from shared_models.errors import BackboneMismatchError, InvalidValueError
from tests.feature_scenes import MAP, dense, make_bank, make_feature_scan
from tests.labelled_scenes import is_inside


def sampling(bank, **settings) -> FeatureGroundTruth:
    return FeatureGroundTruth(FeatureGroundTruthConfig(**settings), bank)


def in_box(box: np.ndarray, margin_m: float = 0.0, includes_nearest: bool = False) -> np.ndarray:
    """(H, W) bool: columns of a box, by a look at every centre."""
    rows, columns = np.meshgrid(np.arange(MAP.shape[1]), np.arange(MAP.shape[2]), indexing="ij")
    centres = np.full((rows.size, 3), box[2], np.float64)
    centres[:, 0] = MAP.first_m[0] + columns.ravel() * MAP.step_m[0]
    centres[:, 1] = MAP.first_m[1] + rows.ravel() * MAP.step_m[1]
    enlarged = box.copy()
    enlarged[3:5] += 2 * margin_m
    inside = is_inside(centres, enlarged)
    if includes_nearest and not inside.any():
        inside[np.linalg.norm(centres[:, :2] - box[:2], axis=1).argmin()] = True
    return inside.reshape(rows.shape)


def obvious(scan: FeatureScan, bank, rows: np.ndarray) -> np.ndarray:
    """F-GT on the dense map: boxes over everything, margins only over what is in no box and was not pasted before."""
    grid, margin_m = dense(scan.features.grid), bank.config.margin_m
    sources = []
    for row in rows:
        source = np.zeros_like(grid)
        for k in range(bank.cell_offsets[row], bank.cell_offsets[row + 1]):
            source[tuple(bank.coords[k])] = bank.features[k]
        sources.append(source)
    is_boxed = np.zeros(MAP.shape[1:], dtype=bool)
    for row, source in zip(rows, sources, strict=True):
        covered = in_box(bank.boxes[row])
        grid[:, covered], is_boxed = source[:, covered], is_boxed | covered
    for box in scan.truth.boxes:
        is_boxed |= in_box(box)
    for row, source in zip(rows, sources, strict=True):
        around = in_box(bank.boxes[row], margin_m, bank.config.keeps_small) & ~is_boxed
        grid[:, around], is_boxed = source[:, around], is_boxed | around
    return grid


@pytest.mark.parametrize("margin_m", [0.0, 0.4, 0.8])
@pytest.mark.parametrize("seed", range(4))
def test_the_same_as_the_obvious_way_on_the_dense_map(seed, margin_m):
    bank, scan = make_bank(margin_m=margin_m), make_feature_scan(seed)
    augmentation = sampling(bank)
    rows = augmentation.chosen(scan.truth, np.random.default_rng(seed))
    assert len(rows) > 5
    made = augmentation.inserted(scan, rows, np.random.default_rng(0))
    np.testing.assert_array_equal(dense(made.features.grid), obvious(scan, bank, rows))
    # Features are never zero here, so that a cell is active where the dense map is not zero.
    assert len(made.features.grid) == (obvious(scan, bank, rows) != 0).any(axis=-1).sum()
    applied = augmentation.apply(scan, np.random.default_rng(seed))
    np.testing.assert_array_equal(applied.truth.boxes[len(scan.truth) :], bank.boxes[rows])


@pytest.mark.parametrize("seed", range(4))
def test_cells_and_keypoints_in_an_inserted_box_are_the_sources(seed):
    bank, scan = make_bank(), make_feature_scan(seed)
    made = sampling(bank).apply(scan, np.random.default_rng(seed))
    added = made.truth.chosen(np.arange(len(scan.truth), len(made.truth)))
    assert added.is_exact.all()
    shared = overlaps_bev(added.boxes, made.truth.boxes)
    assert shared.sum() == len(added)  # each overlaps itself only, no pseudo box, ignored or not
    positions = made.features.keypoints.positions.numpy()
    for box in added.boxes:
        row = int(np.flatnonzero((bank.boxes == box).all(axis=1))[0])
        own = slice(bank.cell_offsets[row], bank.cell_offsets[row + 1])
        grid = dense(made.features.grid)[:, in_box(box, includes_nearest=True)]
        assert (grid != 0).any(axis=-1).sum() == own.stop - own.start
        np.testing.assert_allclose(grid.sum(), bank.features[own].sum(dtype=np.float64), rtol=1e-9)
        held = {p.tobytes() for p in positions[is_inside(positions, box)]}
        brought = bank.positions[bank.keypoint_offsets[row] : bank.keypoint_offsets[row + 1]]
        assert held == {p.tobytes() for p in brought}


def test_an_object_pasted_into_its_own_scene_changes_nothing():
    scan = make_feature_scan(5, boxes=1)
    box = np.array([[12, 3, -0.6, 6, 4, 3, 0.4]], np.float32)
    columns, coords = in_box(box[0]), scan.features.grid.coords.numpy()
    cells = columns[coords[:, 1], coords[:, 2]]
    keypoints = scan.features.keypoints
    inside = is_inside(keypoints.positions.numpy(), box[0])
    assert cells.sum() > 3
    assert inside.sum() > 1
    offsets = lambda count: np.array([0, count])  # noqa: E731
    bank = replace(
        make_bank(objects=1),
        boxes=box,
        coords=coords[cells],
        features=scan.features.grid.features.numpy()[cells],
        cell_offsets=offsets(cells.sum()),
        positions=keypoints.positions.numpy()[inside],
        keypoint_features=keypoints.features.numpy()[inside],
        keypoint_offsets=offsets(inside.sum()),
    )
    made = sampling(bank).inserted(scan, np.array([0]), np.random.default_rng(0)).features
    assert torch.equal(made.grid.coords, scan.features.grid.coords)
    assert torch.equal(made.grid.features, scan.features.grid.features)
    order, old = (np.lexsort(k.positions.numpy().T) for k in (made.keypoints, keypoints))
    assert torch.equal(made.keypoints.positions[order], keypoints.positions[old])
    assert torch.equal(made.keypoints.features[order], keypoints.features[old])


def test_ignored_boxes_are_obstacles_or_give_way():
    bank, scan = make_bank(), make_feature_scan(6, boxes=60)
    assert scan.truth.is_ignored.sum() == 20
    rng = np.random.default_rng
    kept = sampling(bank).apply(scan, rng(0)).truth
    np.testing.assert_array_equal(kept.boxes[:60], scan.truth.boxes)
    made = sampling(bank, avoids_ignored=False).apply(scan, rng(0)).truth
    added = made.boxes[made.is_exact]
    assert len(added) > kept.is_exact.sum()
    covered = overlaps_bev(scan.truth.boxes, added).any(axis=1)
    assert covered.sum() > 0
    assert scan.truth.is_ignored[covered].all()
    np.testing.assert_array_equal(made.boxes[~made.is_exact], scan.truth.boxes[~covered])


def test_numbers_and_cap():
    bank, scan = make_bank(objects=90), make_feature_scan(7, boxes=0)
    held = Truth.exact(np.array([[500 + 9 * k, 0, 0, 4, 2, 1.5, 0] for k in range(4)], np.float32), np.zeros(4, int))
    scan = replace(scan, truth=held)
    for is_capped, most in ((False, (5, 0, 2)), (True, (1, 0, 2))):
        counts = []
        for seed in range(6):
            rows = sampling(bank, numbers=(5, 0, 2), is_capped=is_capped).chosen(
                scan.truth, np.random.default_rng(seed)
            )
            assert len(np.unique(rows)) == len(rows)
            counts.append(np.bincount(bank.labels[rows], minlength=3))
        assert tuple(np.max(counts, axis=0)) == most


def test_features_of_another_detector_are_refused():
    scan = make_feature_scan(0)
    other = replace(scan, features=replace(scan.features, backbone_hash="f" * 64))
    with pytest.raises(BackboneMismatchError, match="scene scene0: features of backbone ffffffffffff"):
        sampling(make_bank()).apply(other, np.random.default_rng(0))
    with pytest.raises(InvalidValueError, match="has keypoints, and the feature bank was made without"):
        sampling(make_bank(keypoint_count=0)).apply(scan, np.random.default_rng(0))
    smaller = replace(make_bank(), features=make_bank().features[:, :3])
    with pytest.raises(InvalidValueError, match="map and channels"):
        sampling(smaller).apply(scan, np.random.default_rng(0))


def test_a_bank_in_half_precision_gives_the_scenes_dtype():
    bank, scan = make_bank(dtype="float16"), make_feature_scan(0)
    made = sampling(bank).apply(scan, np.random.default_rng(0))
    assert made.features.grid.features.dtype == torch.float32
    assert bank.features.dtype == np.float16
    exact = sampling(make_bank()).apply(scan, np.random.default_rng(0))
    torch.testing.assert_close(made.features.grid.features, exact.features.grid.features, rtol=1e-3, atol=0)
