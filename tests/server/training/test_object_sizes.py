from __future__ import annotations

from dataclasses import replace

import numpy as np

from server.training.object_sizes import size_difference, size_statistics
from server.training.samples import LabelledScan, Truth


def scan(*objects: tuple[int, float, float, float]) -> LabelledScan:
    boxes = np.array([[0, 0, 0, *size, 0] for _, *size in objects], dtype=np.float32).reshape(-1, 7)
    labels = np.array([label for label, *_ in objects], dtype=np.int64)
    return LabelledScan(frame_id="f", points=np.empty((0, 4), np.float32), truth=Truth.exact(boxes, labels))


def test_means_and_differences():
    source = size_statistics([scan((0, 4, 2, 1.5), (1, 1, 1, 2)), scan((0, 5, 2, 2.5)), scan()], class_count=3)
    assert source.counts.tolist() == [2, 1, 0]
    np.testing.assert_allclose(source.mean_m, [[4.5, 2, 2], [1, 1, 2], [0, 0, 0]])
    target = size_statistics([scan((0, 4, 1.5, 1.5), (2, 2, 1, 2))], class_count=3)
    np.testing.assert_allclose(size_difference(source, target), [[-0.5, -0.5, -0.5], [0, 0, 0], [0, 0, 0]])


def test_ignored_boxes_do_not_count():
    both = scan((0, 4, 2, 1.5), (0, 40, 20, 15))
    marked = replace(both, truth=replace(both.truth, is_ignored=np.array([False, True])))
    np.testing.assert_allclose(size_statistics([marked], 1).mean_m, [[4, 2, 1.5]])
