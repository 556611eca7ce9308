from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from server.training.samples import Truth
from server.training.targets.keypoints import keypoint_targets

BOXES = np.float32([[0, 0, 0, 4, 2, 2, 0], [10, 0, 0, 4, 2, 2, np.pi / 2]])
TRUTH = Truth.exact(BOXES, np.array([0, 1]))


def test_inside_ring_and_outside_by_hand() -> None:
    # The ring is 0.2 m on the full size, so 0.1 m on each side.
    points = [(0, 0, 0), (1.99, 0.99, 0.99), (2.05, 0, 0), (2.15, 0, 0), (0, 1.05, 1.05), (10, 1.9, 0), (11.5, 0, 0)]
    found = keypoint_targets(torch.tensor(points, dtype=torch.float32), TRUTH)
    assert found.labels.tolist() == [1, 1, -1, 0, -1, 1, 0]
    assert found.rows.tolist() == [0, 0, -1, -1, -1, 1, -1]


def test_ignored_boxes_hide_their_keypoints_unless_another_box_holds_them() -> None:
    points = torch.tensor([[0.0, 0, 0], [10, 1.5, 0], [10, 2.05, 0], [30, 0, 0]])
    unsure = replace(TRUTH, is_ignored=np.array([False, True]))
    found = keypoint_targets(points, unsure)
    assert found.labels.tolist() == [1, -1, -1, 0]
    assert found.rows.tolist() == [0, -1, -1, -1]
    over = unsure.joined(Truth.exact(BOXES[1:], np.array([1])))
    found = keypoint_targets(points, over)
    assert found.labels.tolist() == [1, 1, -1, 0]
    assert found.rows.tolist() == [0, 2, -1, -1]


def test_no_boxes_and_no_keypoints() -> None:
    nothing = Truth.exact(np.zeros((0, 7), np.float32), np.zeros(0, np.int64))
    found = keypoint_targets(torch.zeros(3, 3), nothing)
    assert (found.labels.tolist(), found.rows.tolist()) == ([0, 0, 0], [-1, -1, -1])
    for truth in (nothing, TRUTH):
        assert keypoint_targets(torch.zeros(0, 3), truth).labels.shape == (0,)
