from __future__ import annotations

from pathlib import Path

import pytest

from shared_models import checkpoints
from shared_models.errors import CheckpointError, UnknownNameError
from vehicle_client.weights import load_detector


def test_without_a_checkpoint_weights_are_seeded_and_said_to_be():
    one, same, other = (load_detector("second_iou", "tiny", seed=seed) for seed in (3, 3, 4))
    assert one.detector.backbone_hash == same.detector.backbone_hash != other.detector.backbone_hash
    assert one.described() == "second_iou with seeded, untrained weights (setting tiny, seed 3)"
    assert one.about()["backbone_hash"] == one.detector.backbone_hash


def test_a_checkpoint_knows_its_detector(tmp_path: Path):
    original = load_detector("second_iou", "tiny", seed=3).detector
    checkpoints.save(original, tmp_path / "checkpoint", is_trained=False)
    loaded = load_detector(checkpoint=tmp_path / "checkpoint")
    assert loaded.name == "second_iou"
    assert loaded.detector.backbone_hash == original.backbone_hash
    assert str(tmp_path / "checkpoint") in loaded.weights


def test_a_checkpoint_of_another_detector_is_refused(tmp_path: Path):
    checkpoints.save(load_detector("second_iou", "tiny").detector, tmp_path / "checkpoint", is_trained=False)
    with pytest.raises(CheckpointError, match="expected a checkpoint of pv_rcnn, got one of second_iou"):
        load_detector("pv_rcnn", checkpoint=tmp_path / "checkpoint")


@pytest.mark.parametrize(("name", "setting"), [("third_iou", "tiny"), ("second_iou", "teeny")])
def test_unknown_names_are_refused(name, setting):
    with pytest.raises(UnknownNameError, match="known: "):
        load_detector(name, setting)
