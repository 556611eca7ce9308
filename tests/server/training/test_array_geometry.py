from __future__ import annotations

import numpy as np
import pytest
import torch

from server.training.array_geometry import first_box_of_points, overlaps_bev, rows_in_boxes, rows_near_boxes
from shared_models.geometry.boxes import points_in_boxes, points_in_boxes_mask


def crowd(seed: int, count: int, spread_m: float) -> tuple[np.ndarray, np.ndarray]:
    """Points and overlapping boxes."""
    rng = np.random.default_rng(seed)
    boxes = rng.uniform([-1, -1, -1, 0.5, 0.5, 0.5, -7], [1, 1, 1, 6, 3, 3, 7], (count, 7))
    boxes[:, :2] *= spread_m
    points = rng.uniform([-1.2, -1.2, -2, 0], [1.2, 1.2, 2, 1], (5000, 4))
    points[:, :2] *= spread_m
    return points.astype(np.float32), boxes.astype(np.float32)


@pytest.mark.parametrize(("seed", "count", "spread_m"), [(0, 1, 5), (1, 30, 10), (2, 60, 20), (3, 12, 3000)])
def test_containment_is_that_of_the_shared_geometry(seed, count, spread_m):
    points, boxes = crowd(seed, count, spread_m)
    if spread_m > 1000:  # far apart: put points into the boxes, or none would be inside
        points[: len(boxes), :3] = boxes[:, :3]
    tensors = torch.from_numpy(points), torch.from_numpy(boxes)
    mask, first = points_in_boxes_mask(*tensors).numpy(), points_in_boxes(*tensors).numpy()
    assert mask.any()
    np.testing.assert_array_equal(first_box_of_points(points, boxes), first)
    for k, rows in enumerate(rows_in_boxes(points, boxes)):
        np.testing.assert_array_equal(rows, np.flatnonzero(mask[:, k]))
    near = set(rows_near_boxes(points, boxes).tolist())
    assert set(np.flatnonzero(mask.any(axis=1)).tolist()) <= near


def test_far_points_are_left_out_early():
    points, boxes = crowd(0, 1, 100)
    assert len(rows_near_boxes(points, boxes)) < 0.05 * len(points)


def test_no_points_and_no_boxes():
    points, boxes = crowd(0, 3, 5)
    assert first_box_of_points(points[:0], boxes).shape == (0,)
    assert (first_box_of_points(points, boxes[:0]) == -1).all()
    assert rows_in_boxes(points, boxes[:0]) == []
    assert [len(rows) for rows in rows_in_boxes(points[:0], boxes)] == [0, 0, 0]


def test_overlap_seen_from_above():
    a = np.array([[0, 0, 0, 4, 2, 1, 0]], dtype=np.float32)
    others = np.array(
        [[3, 0, 9, 4, 2, 1, 0], [4, 0, 0, 4, 2, 1, 0], [0, 2.5, 0, 4, 2, 1, 0], [0, 2.5, 0, 4, 2, 1, np.pi / 2]],
        dtype=np.float32,
    )  # behind and above; touching; beside; beside but turned across
    assert overlaps_bev(a, others).tolist() == [[True, False, False, True]]
