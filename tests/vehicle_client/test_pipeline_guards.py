"""Guards on the vehicle, with a real detector: what they need is there, and the payload names them."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared_models import codecs, detectors
from shared_models.datasets import open_dataset
from shared_models.errors import ConfigError
from shared_models.records import EncodedScene
from vehicle_client.extractor import Extractor, ExtractorConfig
from vehicle_client.pipeline import Pipeline, PipelineConfig
from vehicle_client.priority import Priority


class Kept:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.scenes: list[EncodedScene] = []

    def put(self, scene: EncodedScene, priority: Priority = Priority.ROUTINE) -> bool:
        self.scenes.append(scene)
        return True


def sent(root: Path, guard: str, detector: str = "second_iou") -> bytes:
    sink, dataset = Kept(), open_dataset("kitti", root)
    extractor = Extractor(detectors.build(detector, "tiny"))
    Pipeline(extractor, sink, PipelineConfig(guard=guard, guard_seed=1)).process(dataset.frame(dataset.frame_ids[0]))
    return sink.scenes[0].payload


@pytest.mark.parametrize("guard", ["crop_corridor,half_width_m=3.0", "crop_boxes,least_score=0.9", "coarse+decoys"])
def test_the_payload_names_its_guard(make_kitti, guard: str) -> None:
    root = make_kitti(training=1, testing=0, points=600)
    payload, plain = sent(root, guard), sent(root, "none")
    assert codecs.read_header(payload).guard.startswith(guard.partition(",")[0].partition("+")[0])
    assert codecs.read_header(plain).guard == ""
    assert codecs.read_header(payload).cells != codecs.read_header(plain).cells


def test_keypoints_are_snapped_to_the_cells_of_the_vehicles_own_grid(make_kitti) -> None:
    payload = sent(make_kitti(training=1, testing=0, points=600), "keypoint_snap", "pv_rcnn")
    keypoints = codecs.decode(payload).keypoints
    assert keypoints is not None
    steps = (keypoints.positions[:, 0] - 0.05) / 0.8  # tiny: cells of 0.8 m, the first around x = 0.05
    assert float((steps - steps.round()).abs().max()) < 1e-4


def test_a_guard_that_needs_detections_is_refused_where_there_are_none() -> None:
    extractor = Extractor(detectors.build("second_iou", "tiny"), ExtractorConfig(is_detecting=False))
    with pytest.raises(ConfigError, match="leave out --no-detections"):
        Pipeline(extractor, Kept(), PipelineConfig(guard="drop_people"))


def test_a_guard_that_finds_nothing_to_change_is_warned_of_once(make_kitti, caplog: pytest.LogCaptureFixture) -> None:
    dataset = open_dataset("kitti", make_kitti(training=3, testing=0, points=600))
    pipeline = Pipeline(Extractor(detectors.build("second_iou", "tiny")), Kept(), PipelineConfig(guard="keypoint_snap"))
    for frame_id in dataset.frame_ids:
        pipeline.process(dataset.frame(frame_id))
    pipeline.flush()
    (told,) = [record.getMessage() for record in caplog.records if "GUARD" in record.getMessage()]
    assert "keypoint_snap,parts=1: it changes keypoints only, and this detector has none" in told
    assert (pipeline.guard.scenes, pipeline.guard.changed) == (3, 0)


def test_the_guard_may_change_between_frames(make_kitti) -> None:
    sink, dataset = Kept(), open_dataset("kitti", make_kitti(training=3, testing=0, points=600))
    names = iter(["decoys", "decoys", "none"])
    extractor = Extractor(detectors.build("second_iou", "tiny"))
    pipeline = Pipeline(extractor, sink, PipelineConfig(guard="noise"), choose_guard=lambda: next(names))
    for frame_id in dataset.frame_ids:
        pipeline.process(dataset.frame(frame_id))
    guards_sent = [codecs.read_header(scene.payload).guard for scene in sink.scenes]
    assert guards_sent == ["decoys,share=0.5", "decoys,share=0.5", ""]
