from __future__ import annotations

import numpy as np
import pytest
import torch

from shared_models.errors import ConfigError, InvalidValueError
from shared_models.records import Frame
from vehicle_client.extractor import Extractor, ExtractorConfig


@pytest.fixture
def frame() -> Frame:
    return Frame(frame_id="a", points=np.array([[0.5, 0.5, 0, 0], [0.6, 0.5, 0, 0], [1.5, 0, 0, 0]], dtype=np.float32))


def test_the_detector_is_frozen_and_runs_without_gradients(detector, frame):
    extraction = Extractor(detector).extract(frame)
    assert (detector.is_training, detector.has_gradients) == (False, False)
    assert detector.inference_modes == [True]
    assert extraction.features.grid.features.tolist() == [[2], [1]]
    assert extraction.detections is not None
    assert len(extraction.detections) == 2


def test_the_heads_run_only_when_wanted(detector, frame):
    extraction = Extractor(detector, ExtractorConfig(is_detecting=False)).extract(frame)
    assert extraction.detections is None


def test_more_point_fields_than_needed_are_left_out(detector):
    fields = ("x", "y", "z", "intensity", "elongation")
    frame = Frame(frame_id="a", points=np.zeros((1, 5), dtype=np.float32), point_fields=fields)
    assert len(Extractor(detector).extract(frame).features.grid) == 1


def test_the_split_layer_is_told_before_the_first_scan(detector):
    assert Extractor(detector).split_layer == "conv_out"


def test_too_few_point_fields_are_refused(detector):
    frame = Frame(frame_id="a", points=np.zeros((1, 3), dtype=np.float32), point_fields=("x", "y", "z"))
    with pytest.raises(InvalidValueError, match=r"missing \['intensity'\]"):
        Extractor(detector).extract(frame)


def test_an_empty_scan_has_no_features(detector):
    frame = Frame(frame_id="a", points=np.empty((0, 4), dtype=np.float32))
    assert len(Extractor(detector).extract(frame).features.grid) == 0


def test_threads_are_set_for_the_process(detector):
    before = torch.get_num_threads()
    try:
        Extractor(detector, ExtractorConfig(threads=2))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_negative_number_of_threads_is_refused():
    with pytest.raises(ConfigError, match="threads"):
        ExtractorConfig(threads=-1)
