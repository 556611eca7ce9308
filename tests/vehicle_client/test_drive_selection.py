"""Drives that send a part of their frames, over a link with a budget."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from shared_models.errors import CodecRefusedError, ConfigError, StorageError
from vehicle_client.bandwidth import BandwidthConfig, LinkConfig
from vehicle_client.drive import Drive, DriveConfig
from vehicle_client.extractor import ExtractorConfig

CELLULAR = BandwidthConfig(link="cellular", cellular=LinkConfig(daily_bytes=1000))


@pytest.fixture
def config(make_kitti, tmp_path: Path) -> DriveConfig:
    return DriveConfig(server="localhost:1", root=make_kitti(3, 1), vehicle_id="car-1", state=tmp_path / "state")


def test_a_drive_sends_the_selected_frames_and_remembers(config, detector, uploader):
    config = replace(config, select={"rule": "every", "n": 3})
    result = Drive(config, detector).run()
    assert result.is_complete
    assert len(uploader.received) == 2
    report = json.loads(json.dumps(result.report(config, {})))
    assert (report["frames_used"], report["frames_selected"]) == (4, 2)
    assert report["selection"]["scenes_this_day"] == 2
    assert report["bandwidth"] is None
    assert len(list((config.state / "detections").iterdir())) == 4  # own detections are kept of every frame
    Drive(config, detector).run()  # goes on counting with the fifth of all frames
    assert [scene.manifest.frame_id for scene in uploader.received[2:]] == ["training-000002"]


def test_without_a_selection_the_report_says_so(config, detector, uploader):
    report = Drive(config, detector).run().report(config, {})
    assert (report["selection"], report["bandwidth"], report["frames_selected"]) == (None, None, 4)
    assert not (config.state / "selection.json").exists()


def test_a_rule_that_needs_detections_needs_them(config, detector):
    config = replace(config, select={"rule": "uncertainty"}, extractor=ExtractorConfig(is_detecting=False))
    with pytest.raises(ConfigError, match="selection uncertainty: it needs the vehicle's detections"):
        Drive(config, detector)


def test_auto_offers_all_codecs_of_the_link_and_takes_what_fits(config, detector, uploader):
    uploader.accepted = frozenset({"int8", "int4"})
    drive = Drive(replace(config, codecs=("auto",), bandwidth=CELLULAR), detector)
    result = drive.run()
    assert uploader.identity.codecs == ("float16", "int8", "int4")
    used = [scene.manifest.codec for scene in uploader.received]
    assert used[0] == "int8"
    assert used[-1] == "int4"  # what waits is taken off the budget of 1000 bytes
    assert result.bandwidth["links"]["cellular"]["left_bytes"] == 1000  # the fake server's bytes pass no gate


def test_auto_needs_a_link_and_stands_alone(config):
    with pytest.raises(ConfigError, match="codec auto: it stands alone and needs a link"):
        replace(config, codecs=("auto",))
    with pytest.raises(ConfigError, match="got auto, int8"):
        replace(config, codecs=("auto", "int8"), bandwidth=CELLULAR)


def test_a_server_that_refuses_every_codec_of_the_link_is_known_before_the_first_frame(config, detector, uploader):
    uploader.accepted = frozenset({"float32"})
    with pytest.raises(CodecRefusedError, match="float16, int8, int4"):
        Drive(replace(config, codecs=("auto",), bandwidth=CELLULAR), detector).run()
    assert not config.state.exists()


@pytest.mark.parametrize("name", ["bandwidth.json", "selection.json"])
def test_a_damaged_file_is_known_before_the_first_frame(config, detector, uploader, name):
    config.state.mkdir()
    (config.state / name).write_text("{")
    with pytest.raises(StorageError, match=name):
        Drive(replace(config, select={"rule": "every"}, bandwidth=CELLULAR), detector).run()
    assert uploader.received == []
