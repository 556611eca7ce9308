from __future__ import annotations

import pytest
import torch

from server.training.features.extraction import extract_points, extract_scan
from shared_models.detectors import build
from shared_models.errors import InvalidValueError
from tests.labelled_scenes import empty_scan, make_scan


def test_the_features_that_a_vehicle_would_send():
    detector, scan = build("second_iou", "tiny"), make_scan(0, frame_id="f0", spread_m=7.0)
    made = extract_scan(scan, detector)
    expected = detector.extract(torch.from_numpy(scan.points))
    assert torch.equal(made.features.grid.features, expected.grid.features)
    assert not made.features.grid.features.requires_grad
    assert (made.scene_id, made.truth) == ("f0", scan.truth)
    assert len(extract_scan(empty_scan(), detector).features.grid) == 0
    with pytest.raises(InvalidValueError, match="training mode"):
        extract_points(scan.points, detector.train())
