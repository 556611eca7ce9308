from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from shared_models import codecs
from shared_models.datasets import DATASETS, open_dataset
from shared_models.errors import (
    BackboneMismatchError,
    CodecRefusedError,
    ConfigError,
    DatasetError,
    InvalidValueError,
    PayloadTooLargeError,
    ServerUnreachableError,
    StorageFullError,
    UnknownNameError,
)
from tests.loopback import make_scene
from vehicle_client.drive import Drive, DriveConfig
from vehicle_client.outbox import Outbox, OutboxConfig, Priority
from vehicle_client.sensors.replay import ReplayConfig
from vehicle_client.uploader import Refusal


@pytest.fixture
def config(make_kitti, tmp_path: Path) -> DriveConfig:
    return DriveConfig(server="localhost:1", root=make_kitti(3, 1), vehicle_id="car-1", state=tmp_path / "state")


def test_a_drive_sends_everything_and_says_so(config, detector, uploader, tmp_path: Path):
    seen: list[int] = []
    result = Drive(config, detector).run(lambda outcome, waiting: seen.append(waiting))
    assert result.is_complete
    assert seen == [1, 2, 3, 4]
    assert [scene.manifest.frame_id for scene in uploader.received] == [o.frame_id for o in result.log.listed]
    assert sorted(p.name for p in (tmp_path / "state/detections").iterdir()) == [
        "testing-000000.npz",
        "training-000000.npz",
        "training-000001.npz",
        "training-000002.npz",
    ]
    assert uploader.identity.backbone_hash == detector.backbone_hash
    assert uploader.identity.split_layer == "conv_out"
    report = result.report(config, {"detector": "counting"})
    assert (report["frames_used"], report["is_complete"], report["upload"]["stored"]) == (4, True, 4)
    assert codecs.decode(uploader.received[0].payload).backbone_hash == detector.backbone_hash


def test_a_broken_frame_makes_a_drive_incomplete_and_loses_nothing_else(config, detector, uploader):
    (config.root / "training/velodyne/000001.bin").write_bytes(b"12345")
    (config.root / "training/calib/000002.txt").write_text("P2: 1\n")
    result = Drive(config, detector).run()
    assert not result.is_complete
    assert [scene.manifest.frame_id for scene in uploader.received] == ["training-000000", "testing-000000"]
    rejected = result.report(config, {})["rejected"]
    assert [r["frame_id"] for r in rejected] == ["training-000001", "training-000002"]
    assert "training/velodyne/000001.bin: expected a multiple of 16 bytes" in rejected[0]["reason"]
    assert "training/calib/000002.txt:1: expected 12 numbers" in rejected[1]["reason"]


def test_a_vehicle_needs_no_labels(config, detector, uploader):
    (config.root / "training/label_2/000001.txt").write_text("Car nonsense\n")
    assert Drive(config, detector).run().is_complete
    assert len(uploader.received) == 4


def test_a_refused_scene_makes_a_drive_incomplete(config, detector, uploader):
    uploader.refusals = (
        Refusal(scene_id="ab" * 32, frame_id="training-000000", error=PayloadTooLargeError("too large")),
    )
    result = Drive(config, detector).run()
    assert not result.is_complete
    (refusal,) = json.loads(json.dumps(result.report(config, {})))["upload"]["refusals"]
    assert refusal == {"scene_id": "ab" * 32, "frame_id": "training-000000", "reason": "too large"}


def test_a_refusing_server_is_known_before_the_first_frame(config, detector, uploader, tmp_path: Path):
    uploader.handshake_error = BackboneMismatchError("the server accepts another backbone")
    with pytest.raises(BackboneMismatchError):
        Drive(config, detector).run()
    assert not (tmp_path / "state").exists()


def test_a_server_that_is_away_at_the_start_may_come_back(config, detector, uploader, caplog):
    uploader.handshake_error = ServerUnreachableError("localhost:1 does not answer")
    assert Drive(config, detector).run().is_complete
    assert len(uploader.received) == 4
    assert "does not answer yet" in caplog.text


def test_what_was_not_sent_waits_for_the_next_drive(config, detector, uploader, tmp_path: Path):
    uploader.fails_after = 2
    with pytest.raises(ServerUnreachableError):
        Drive(config, detector).run()
    with Outbox(tmp_path / "state/outbox") as outbox:
        assert outbox.counts().pending == 2
    uploader.fails_after = None
    assert Drive(config, detector).run().is_complete
    assert len(uploader.received) == 4


def test_stopping_keeps_what_was_made(config, detector, uploader, tmp_path: Path):
    def stop(outcome, waiting) -> None:
        raise KeyboardInterrupt

    result = Drive(config, detector).run(stop)
    assert result.upload is None
    assert not result.is_complete
    assert len(result.log.listed) == 1
    with Outbox(tmp_path / "state/outbox") as outbox:
        assert outbox.counts().pending == 1


def test_two_vehicles_share_the_frames(config, detector, uploader, tmp_path: Path):
    for index in range(2):
        one = DriveConfig(
            server="localhost:1",
            root=config.root,
            vehicle_id=f"car-{index}",
            state=tmp_path / f"state-{index}",
            replay=ReplayConfig(shard_index=index, shard_count=2),
        )
        Drive(one, detector).run()
    assert sorted(s.manifest.frame_id for s in uploader.received) == sorted(
        open_dataset("kitti", config.root).frame_ids
    )


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"dataset": "kitty"}, UnknownNameError),
        ({"split": "nothing"}, DatasetError),
        ({"codecs": ("int9",)}, UnknownNameError),
        ({"vehicle_id": "a/b"}, ValueError),
    ],
)
def test_wrong_arguments_are_refused_at_once(config, detector, changes, error):
    values = {"server": "localhost:1", "root": config.root, **changes}
    with pytest.raises(error):
        Drive(DriveConfig(**values), detector)


def test_the_default_dataset_is_in_the_table():
    assert DriveConfig(server="a:1", root=Path()).dataset in DATASETS


def test_a_state_folder_belongs_to_one_vehicle(config, detector, uploader):
    uploader.fails_after = 1
    with pytest.raises(ServerUnreachableError):
        Drive(config, detector).run()
    with pytest.raises(ConfigError, match="state of vehicle 'car-1', not of 'car-2'"):
        Drive(replace(config, vehicle_id="car-2"), detector)
    uploader.fails_after = None
    assert Drive(config, detector).run().is_complete
    assert {scene.manifest.vehicle_id for scene in uploader.received} == {"car-1"}


def test_waiting_scenes_are_not_sent_under_another_name_where_none_was_kept(config, detector, uploader):
    with Outbox(config.state / "outbox") as outbox:
        outbox.put(make_scene(vehicle="car-0"))
    with pytest.raises(ConfigError, match="scenes of vehicle 'car-0' wait there"):
        Drive(config, detector).run()
    assert not (config.state / "vehicle_id").exists()
    with Outbox(config.state / "outbox") as outbox:
        assert outbox.counts().pending == 1


def test_a_codec_that_the_server_refuses_is_known_before_the_first_frame(config, detector, uploader):
    uploader.accepted = frozenset({"float32"})
    with pytest.raises(CodecRefusedError, match="codec int8 is not accepted, the server accepts float32"):
        Drive(replace(config, codecs=("float32", "int8")), detector).run()
    assert not config.state.exists()


def test_scenes_over_the_servers_limit_are_warned_of_once(config, detector, uploader, caplog):
    uploader.max_payload = 10
    Drive(config, detector).run()
    assert caplog.text.count("larger than the server takes") == 1


def test_scenes_that_did_not_fit_make_a_drive_incomplete_and_are_reported(config, detector, uploader):
    size = Drive(config, detector).run().log.payload_bytes["float32"] // 4
    config = replace(config, state=config.state / "other", outbox=OutboxConfig(max_bytes=int(2.5 * size)))
    result = Drive(config, detector).run()
    assert not result.is_complete
    assert (result.dropped_scenes, result.upload.stored) == (2, 2)
    outbox = json.loads(json.dumps(result.report(config, {})))["outbox"]
    assert (outbox["evicted_scenes"], outbox["dropped_in_this_drive"], outbox["delivered_scenes"]) == (2, 2, 2)
    assert outbox["evicted_bytes"] > size
    again = Drive(replace(config, outbox=OutboxConfig()), detector).run()
    assert (again.is_complete, again.dropped_scenes, again.outbox.evicted_scenes) == (True, 0, 2)


def test_a_full_outbox_ends_a_drive_that_may_drop_nothing(config, detector, uploader):
    config = replace(config, outbox=OutboxConfig(max_bytes=1, when_full="refuse"))
    with pytest.raises(StorageFullError, match="raise max_bytes"):
        Drive(config, detector).run()


def test_region_and_class_reach_the_scenes(config, detector, uploader, monkeypatch):
    classes: list[Priority] = []
    put = Outbox.put
    monkeypatch.setattr(
        Outbox, "put", lambda self, scene, priority: classes.append(priority) or put(self, scene, priority)
    )
    config = replace(config, region="Oberbayern", priority=Priority.HIGH)
    report = Drive(config, detector).run().report(config, {})
    assert {scene.manifest.region for scene in uploader.received} == {"Oberbayern"}
    assert report["region"] == "Oberbayern"
    assert set(classes) == {Priority.HIGH}
    with pytest.raises(InvalidValueError, match=r"DriveConfig\.region"):
        replace(config, region="a/b")
