from __future__ import annotations

import numpy as np
import pytest

from shared_models.datasets.kitti import read_scan
from shared_models.statistics.ground import ground_mask

GROUND_LABELS = (40, 44, 48, 49, 60, 72)  # SemanticKITTI: road, parking, sidewalk, other ground, marking, terrain


def test_a_sloped_ground_with_boxes_and_a_roof():
    generator = np.random.default_rng(0)
    xy = generator.uniform(-40, 40, (20_000, 2))
    slope = 0.03 * xy[:, 0]
    height = np.where((np.abs(xy[:, 0] - 10) < 1) & (np.abs(xy[:, 1]) < 1), 1.5, 0.0)  # a car's roof in the open
    height = np.where((xy[:, 0] > 20) & (xy[:, 1] > 20) & (xy[:, 1] < 28), 4.0, height)  # a house, no ground below
    points = np.column_stack([xy, slope + height]).astype(np.float32)
    found = ground_mask(points)
    assert (found == (height == 0)).mean() > 0.97


def test_no_points_have_no_ground():
    assert ground_mask(np.empty((0, 4), np.float32)).shape == (0,)


def test_one_point_is_its_own_ground_or_none():
    assert ground_mask(np.zeros((1, 4), np.float32)).shape == (1,)


@pytest.mark.data
def test_people_who_labelled_every_point_agree(shared_data):
    root = shared_data("semantickitti_00")
    for number in range(3):
        points = read_scan(root / f"velodyne/{number:06d}.bin")
        labels = np.fromfile(root / f"labels/{number:06d}.label", "<u4") & 0xFFFF
        is_known = labels != 0
        agreed = ground_mask(points)[is_known] == np.isin(labels, GROUND_LABELS)[is_known]
        assert agreed.mean() > 0.93
