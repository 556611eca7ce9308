from __future__ import annotations

import numpy as np
import pytest
import torch

from server.training.features.geometry import FeatureMap
from shared_models.backbones.second import output_shape
from shared_models.detectors import build, default_config
from tests.feature_scenes import MAP, make_truth
from tests.labelled_scenes import is_inside


def map_of(setting: str) -> FeatureMap:
    return FeatureMap.of(default_config("second_iou", setting).voxels)


@pytest.mark.parametrize(
    ("setting", "heights", "shape"),
    [("kitti", (-1.75, -0.15), (2, 200, 176)), ("waymo", (-0.125, 2.275), (2, 188, 188))],
)
def test_slices_and_columns_lie_where_worked_out_by_hand(setting, heights, shape):
    feature_map = map_of(setting)
    assert feature_map.shape == shape
    centres = feature_map.centres(torch.tensor([[0, 0, 0], [1, 3, 5]], dtype=torch.int32)).numpy()
    low, voxel = (0.0, -40.0, 0.05) if setting == "kitti" else (-75.2, -75.2, 0.1), None
    voxel = low[2]
    expected = [
        [low[0] + 0.5 * voxel, low[1] + 0.5 * voxel, heights[0]],
        [low[0] + 40.5 * voxel, low[1] + 24.5 * voxel, heights[1]],
    ]
    np.testing.assert_allclose(centres, expected, atol=1e-9)


@pytest.mark.parametrize("setting", ["kitti", "waymo", "small", "tiny"])
def test_the_map_is_that_of_the_backbone(setting):
    assert map_of(setting).shape == output_shape(default_config("second_iou", setting).voxels.sparse_shape)


def test_the_backbone_answers_where_the_map_says():
    """A single point makes active cells whose mean is its voxel, and the middle one lies on it."""
    detector, feature_map = build("second_iou", "tiny"), map_of("tiny")
    for number in (80, 160):  # voxels that cells are centred on
        point = torch.tensor([[number * 0.1 + 0.05, -20 + number * 0.1 + 0.05, -1.0, 0.5]])
        with torch.inference_mode():
            cells = detector.extract(point).grid
        centres = feature_map.centres(cells.coords).numpy()
        np.testing.assert_allclose(centres[:, :2].mean(axis=0), point[0, :2].numpy(), atol=1e-4)
        # The same voxels 8 further are the same cells 1 further: nothing is off by a part of a cell.
        assert (cells.coords[:, 2] == number // 8).any()


@pytest.mark.parametrize("margin_m", [0.0, 0.4, 0.8])
def test_footprints_are_the_cells_that_a_look_at_every_cell_finds(margin_m):
    boxes = make_truth(7, 25).boxes
    boxes[:3, :2] = [[0, 0], [35.2, -20], [60, 0]]  # at the border, in the corner, outside
    made = MAP.footprints(boxes, margin_m)
    coords = torch.from_numpy(np.argwhere(np.ones((1, *MAP.shape[1:]))).astype(np.int32))
    centres = MAP.centres(coords).numpy()
    for k, box in enumerate(boxes):
        flat = centres.copy()
        flat[:, 2] = box[2]
        enlarged = box.copy()
        enlarged[3:5] += 2 * margin_m
        np.testing.assert_array_equal(made.cells[made.owners == k], np.flatnonzero(is_inside(flat, enlarged)))
    assert (np.diff(made.owners) >= 0).all()


def test_small_boxes_get_the_nearest_cell():
    boxes = np.array(
        [[8.45, 0.4, 0, 0.4, 0.4, 1.7, 0], [9.65, 0.4, 0, 4, 2, 1.5, 0], [36, 0, 0, 0.1, 0.1, 1, 0]], np.float32
    )
    strict, kept = MAP.footprints(boxes), MAP.footprints(boxes, includes_nearest=True)
    assert set(strict.owners) == {1}
    np.testing.assert_array_equal(kept.cells[kept.owners == 1], strict.cells)
    assert kept.cells[kept.owners == 0].tolist() == [25 * 44 + 10]  # at x 8.05, y 0.05
    assert 2 not in kept.owners  # nearest would be a column that the map does not have
    assert (np.diff(kept.owners) >= 0).all()


def test_no_boxes_cover_nothing_and_a_car_on_kitti_about_ten_by_four_cells():
    assert len(MAP.footprints(np.empty((0, 7), np.float32)).cells) == 0
    car = np.array([[20, 0, -1, 3.9, 1.6, 1.56, 0]], np.float32)
    assert len(map_of("kitti").footprints(car).cells) in (9 * 4, 10 * 4)


def test_a_cell_of_several_boxes_belongs_to_the_first():
    box = np.array([[10, 0, -1, 4, 2, 1.5, 0]], np.float32)
    both = MAP.footprints(np.concatenate((box, box)))
    once = both.owned_once()
    np.testing.assert_array_equal(once.cells, np.sort(MAP.footprints(box).cells))
    assert (once.owners == 0).all()
