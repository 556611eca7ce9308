from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from shared_models import codecs, guards
from shared_models.errors import ConfigError, InvalidValueError, StorageFullError, UnknownNameError
from shared_models.guard import Guard
from shared_models.records import EncodedScene, Frame
from vehicle_client.detection_files import load_detections
from vehicle_client.extractor import Extractor
from vehicle_client.pipeline import Pipeline, PipelineConfig
from vehicle_client.priority import Priority
from vehicle_client.report import DriveLog, FrameReport, RejectedFrame
from vehicle_client.selections import parse, selection_of
from vehicle_client.selector import Selector
from vehicle_client.sensors.replay import ReplaySensor


def test_each_frame_becomes_one_scene_a_codec(detector, sink, list_dataset):
    pipeline = Pipeline(Extractor(detector), sink, PipelineConfig(vehicle_id="car-1", codecs=("float32", "int8")))
    reports = list(pipeline.run(ReplaySensor(list_dataset(3)).readings()))
    assert [r.frame_id for r in reports] == ["0", "1", "2"]
    assert [s.manifest.codec for s in sink.scenes] == ["float32", "int8"] * 3
    assert {s.manifest.vehicle_id for s in sink.scenes} == {"car-1"}
    assert [scene.scene_id for r in reports for scene in r.scenes] == [s.manifest.scene_id for s in sink.scenes]
    assert all(r.raw_bytes == 30 * 16 for r in reports)


def test_what_is_sent_is_what_was_extracted(detector, sink, list_dataset):
    frame = list_dataset(1).frame("0")
    Pipeline(Extractor(detector), sink, PipelineConfig()).process(frame)
    features, decoded = Extractor(detector).extract(frame).features, codecs.decode(sink.scenes[0].payload)
    assert torch.equal(decoded.grid.coords, features.grid.coords)
    assert torch.equal(decoded.grid.features, features.grid.features)
    assert decoded.backbone_hash == sink.scenes[0].manifest.backbone_hash == detector.backbone_hash


def test_the_same_frame_makes_the_same_scene(detector, sink, list_dataset):
    pipeline = Pipeline(Extractor(detector), sink, PipelineConfig())
    for _ in range(2):
        pipeline.process(list_dataset(1).frame("0"))
    assert len({s.manifest.scene_id for s in sink.scenes}) == 1


class NoiseGuard(Guard):
    name = "noise"

    def _change(self, features, generator, context):
        noise = torch.randn(features.grid.features.shape, generator=generator)
        return replace(features, grid=replace(features.grid, features=features.grid.features + noise))


def test_the_guard_comes_before_the_encoder(detector, sink, list_dataset, monkeypatch):
    monkeypatch.setattr(guards, "build", lambda name: NoiseGuard())
    frame = list_dataset(1).frame("0")
    for seed in (3, 3, None, None):
        Pipeline(Extractor(detector), sink, PipelineConfig(guard="noise", guard_seed=seed)).process(frame)
    clean = Extractor(detector).extract(frame).features
    expected = NoiseGuard().apply(clean, torch.Generator().manual_seed(3)).grid.features
    sent = [codecs.decode(scene.payload).grid.features for scene in sink.scenes]
    assert torch.equal(sent[0], expected)
    assert torch.equal(sent[1], expected)
    assert not torch.equal(sent[2], sent[3])  # without a seed each drive has its own noise


def test_own_detections_are_kept_here(detector, sink, list_dataset, tmp_path: Path):
    config = PipelineConfig(detections_folder=tmp_path / "detections")
    frame = list_dataset(1).frame("0")
    report = Pipeline(Extractor(detector), sink, config).process(frame)
    assert report.detections_file == str(tmp_path / "detections/0.npz")
    kept, expected = load_detections(Path(report.detections_file)), Extractor(detector).extract(frame).detections
    assert expected is not None
    assert torch.equal(kept.boxes, expected.boxes)
    assert torch.equal(kept.scores, expected.scores)
    assert kept.class_names == ("Car",)


def test_bad_frames_are_reported_and_the_others_sent(detector, sink, list_dataset):
    pipeline = Pipeline(Extractor(detector), sink, PipelineConfig())
    outcomes = list(pipeline.run(ReplaySensor(list_dataset(4, broken=(0, 2))).readings()))
    assert [type(o) for o in outcomes] == [RejectedFrame, FrameReport, RejectedFrame, FrameReport]
    assert "expected a multiple of 16 bytes" in outcomes[0].reason
    assert [s.manifest.frame_id for s in sink.scenes] == ["1", "3"]


def test_a_frame_that_does_not_suit_the_detector_is_rejected(detector, sink, list_dataset):
    class WithoutIntensity(list_dataset):
        def frame(self, frame_id: str) -> Frame:
            return Frame(frame_id=frame_id, points=np.zeros((1, 3), np.float32), point_fields=("x", "y", "z"))

    (outcome,) = Pipeline(Extractor(detector), sink, PipelineConfig()).run(ReplaySensor(WithoutIntensity(1)).readings())
    assert isinstance(outcome, RejectedFrame)
    assert "missing ['intensity']" in outcome.reason


def test_a_full_outbox_stops_the_drive(detector, list_dataset):
    class FullSink:
        def put(self, scene: EncodedScene, priority: Priority = Priority.ROUTINE) -> bool:
            raise StorageFullError("outbox: no space left")

    with pytest.raises(StorageFullError):
        list(Pipeline(Extractor(detector), FullSink(), PipelineConfig()).run(ReplaySensor(list_dataset(1)).readings()))


def test_an_empty_scan_is_sent(detector, sink):
    frame = Frame(frame_id="a", points=np.empty((0, 4), np.float32))
    report = Pipeline(Extractor(detector), sink, PipelineConfig()).process(frame)
    assert report.cells == 0
    assert len(codecs.decode(sink.scenes[0].payload).grid) == 0


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"codecs": ()}, ConfigError),
        ({"codecs": ("int8", "int8")}, ConfigError),
        ({"codecs": ("int9",)}, UnknownNameError),
        ({"vehicle_id": "a/b"}, ValueError),
        ({"guard": "cloak"}, UnknownNameError),
    ],
)
def test_a_wrong_configuration_is_refused_before_the_drive(detector, sink, wrong, error):
    with pytest.raises(error):
        Pipeline(Extractor(detector), sink, PipelineConfig(**wrong))


def selecting(given: str, tmp_path: Path) -> Selector[FrameReport]:
    mapping = parse((given,))
    assert mapping is not None
    selection, config = selection_of(mapping)
    return Selector(selection, config, tmp_path / "selection.json", mapping, lambda: 1e9)


def test_only_selected_frames_are_encoded_and_the_others_say_why(detector, sink, list_dataset, tmp_path: Path):
    with selecting("every,n=3", tmp_path) as selector:
        pipeline = Pipeline(Extractor(detector), sink, PipelineConfig(codecs=("float32", "int8")), selector)
        reports = list(pipeline.run(ReplaySensor(list_dataset(7)).readings()))
    assert [s.manifest.frame_id for s in sink.scenes] == ["0", "0", "3", "3", "6", "6"]
    assert [r.not_selected for r in reports] == [None, *["every: one of 3 frames"] * 2] * 2 + [None]
    assert [len(r.scenes) for r in reports] == [2, 0, 0, 2, 0, 0, 2]
    assert reports[0].selected_by == "every: one of 3 frames"
    log = DriveLog(reports)
    assert (log.used, log.selected, log.not_selected) == (7, 3, {"every: one of 3 frames": 4})


def test_a_held_frame_comes_after_the_ones_it_was_compared_with(detector, sink, list_dataset, tmp_path: Path):
    given = "uncertainty,measure=boxes,low=0.0,high=1.0,boxes=1,window_frames=4"
    with selecting(given, tmp_path) as selector:
        pipeline = Pipeline(Extractor(detector), sink, PipelineConfig(), selector)
        reports = list(pipeline.run(ReplaySensor(list_dataset(6, broken=(1,))).readings()))
    assert sorted(r.frame_id for r in reports) == ["0", "1", "2", "3", "4", "5"]
    cells = {r.frame_id: r.cells for r in reports if isinstance(r, FrameReport)}
    best = max(("0", "2", "3", "4"), key=lambda frame_id: cells[frame_id])
    assert [s.manifest.frame_id for s in sink.scenes] == [best, "5"]
    assert reports[-1].frame_id == "5"
    assert sink.priorities == [Priority.URGENT, Priority.URGENT]  # boxes / (boxes + 1) > 3/4


def test_the_budget_counts_what_was_really_encoded(detector, sink, list_dataset, tmp_path: Path):
    Pipeline(Extractor(detector), sink, PipelineConfig()).process(list_dataset(1).frame("0"))
    size = sink.scenes.pop().manifest.payload_bytes
    with selecting(f"every,n=1,bytes_per_day={3 * size + size // 2}", tmp_path) as selector:
        pipeline = Pipeline(Extractor(detector), sink, PipelineConfig(), selector)
        reports = list(pipeline.run(ReplaySensor(list_dataset(6)).readings()))
        spent = selector.report()["bytes_this_day"]
    assert len(sink.scenes) == 3
    assert spent == sum(scene.manifest.payload_bytes for scene in sink.scenes)
    assert reports[-1].not_selected == f"budget: {3 * size + size // 2} bytes per day"


def test_the_codec_may_be_chosen_for_each_frame(detector, sink, list_dataset):
    names = iter(["float16", "int8", "int4"])
    pipeline = Pipeline(Extractor(detector), sink, PipelineConfig(), choose_codec=lambda: next(names))
    reports = list(pipeline.run(ReplaySensor(list_dataset(3)).readings()))
    assert [s.manifest.codec for s in sink.scenes] == ["float16", "int8", "int4"]
    assert [r.scenes[0].codec for r in reports] == ["float16", "int8", "int4"]


def test_frames_that_nobody_judged_are_of_the_configured_class(detector, sink, list_dataset):
    for config in (PipelineConfig(), PipelineConfig(priority=Priority.LOW)):
        Pipeline(Extractor(detector), sink, config).process(list_dataset(1).frame("0"))
    assert sink.priorities == [Priority.ROUTINE, Priority.LOW]


def test_a_region_travels_with_the_scene_and_does_not_change_its_id(detector, sink, list_dataset):
    for config in (PipelineConfig(region="Bavaria"), PipelineConfig()):
        Pipeline(Extractor(detector), sink, config).process(list_dataset(1).frame("0"))
    assert [scene.manifest.region for scene in sink.scenes] == ["Bavaria", ""]
    assert sink.scenes[0].manifest.scene_id == sink.scenes[1].manifest.scene_id
    with pytest.raises(InvalidValueError, match=r"PipelineConfig\.region"):
        PipelineConfig(region="a/b")
