from __future__ import annotations

import numpy as np

from server.training.augmentations.statistical_normalisation import (
    StatisticalNormalisation,
    StatisticalNormalisationConfig,
)
from server.training.samples import LabelledScan, Truth
from tests.labelled_scenes import make_scan


def test_hand_worked_values():
    boxes = np.array([[10, 0, 0, 5, 2.5, 2, np.pi / 2]], dtype=np.float32)
    # The heading is +y: the box spans 5 m in y and 2.5 m in x. Front, left side, top, and a point outside.
    points = np.array([[10, 2.4, 0, 0], [8.8, 0, 0, 0], [10, 0, 0.9, 0], [14, 0, 0, 0]], dtype=np.float32)
    scan = LabelledScan(frame_id="f", points=points, truth=Truth.exact(boxes, np.zeros(1, np.int64)))
    config = StatisticalNormalisationConfig(delta_m=((-1.0, -0.5, -0.2),))
    made = StatisticalNormalisation(config).apply(scan, np.random.default_rng(0))
    np.testing.assert_allclose(made.truth.boxes, [[10, 0, -0.1, 4, 2, 1.8, np.pi / 2]], atol=1e-5)
    # Along: 2.4 x 4/5 = 1.92; across: 1.2 x 2/2.5 = 0.96; up: 0.9 x 1.8/2 - 0.1 = 0.71; heights 0 come to -0.1.
    expected = [[10, 1.92, -0.1, 0], [9.04, 0, -0.1, 0], [10, 0, 0.71, 0], [14, 0, 0, 0]]
    np.testing.assert_allclose(made.points, expected, atol=1e-5)


def test_only_the_named_classes_and_sizes_that_stay_possible():
    scan = make_scan()
    config = StatisticalNormalisationConfig(delta_m=((-0.91, -0.49, -0.26), (-0.7, -0.7, 0.1)))
    made = StatisticalNormalisation(config).apply(scan, np.random.default_rng(0))
    change = made.truth.boxes[:, 3:6] - scan.truth.boxes[:, 3:6]
    labels = scan.truth.labels
    np.testing.assert_allclose(change[labels == 0], np.tile([-0.91, -0.49, -0.26], (2, 1)), atol=1e-5)
    np.testing.assert_array_equal(change[labels == 1], 0)  # pedestrians are 0.6 m wide: 0.7 m less is impossible
    np.testing.assert_array_equal(change[labels == 2], 0)
    bottoms = (scan.truth.boxes[:, 2] - scan.truth.boxes[:, 5] / 2, made.truth.boxes[:, 2] - made.truth.boxes[:, 5] / 2)
    np.testing.assert_allclose(*bottoms, atol=1e-6)


def test_growing_objects_cover_background():
    scan = make_scan(background=20_000)
    config = StatisticalNormalisationConfig(delta_m=((2.0, 2.0, 0.5),))
    made = StatisticalNormalisation(config).apply(scan, np.random.default_rng(0))
    assert len(made.points) < len(scan.points)
