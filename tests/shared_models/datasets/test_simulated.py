from __future__ import annotations

import pytest

from shared_models.datasets.simulated import SimulatedDataset, drive_of
from shared_models.errors import DatasetError, NotFoundError
from shared_models.simulation.simulator import SimulatedConfig


def test_frames_are_named_by_place_sensor_and_weather():
    config = SimulatedConfig(domain="usa", sensor="waymo", weather="rain", drives=2, frames_per_drive=2)
    names = SimulatedDataset(config).frame_ids
    assert names[0] == "sim-usa-waymo-rain-0000-0000"
    assert SimulatedDataset(SimulatedConfig()).frame_ids[-1] == "sim-germany-kitti-0009-0019"


def test_a_frames_name_tells_its_street_and_its_drive():
    config = SimulatedConfig(weather="night", drives=2, visits=2, frames_per_drive=1)
    found = [drive_of(name) for name in SimulatedDataset(config).frame_ids]
    street = "sim-germany-kitti-night-0000"
    assert found[:2] == [(street, street), (street, f"{street}.1")]
    assert len({drive for _, drive in found}) == 4
    assert drive_of("training-000123") is None
    val = SimulatedDataset(SimulatedConfig(drives=10, visits=2, frames_per_drive=1), "val")
    assert {drive_of(name)[0][-4:] for name in val.frame_ids} == {"0008", "0009"}


def test_no_street_is_in_both_splits():
    config = SimulatedConfig(drives=10, frames_per_drive=1)
    train, val = (set(SimulatedDataset(config, split).frame_ids) for split in ("train", "val"))
    assert (len(train), len(val)) == (8, 2)
    assert not train & val


def test_the_settings_lie_in_the_folder(tmp_path):
    (tmp_path / "simulated.toml").write_text('domain = "usa"\ndrives = 1\nframes_per_drive = 3\n')
    dataset = SimulatedDataset.open(tmp_path)
    assert dataset.config.domain == "usa"
    assert len(dataset) == 3


def test_a_folder_without_settings_takes_the_defaults(tmp_path):
    assert SimulatedDataset.open(tmp_path).config == SimulatedConfig()


@pytest.mark.parametrize("text", ["drives = 0", "colour = 1", "drives = "])
def test_wrong_settings_are_refused_with_the_file(tmp_path, text):
    (tmp_path / "simulated.toml").write_text(text)
    with pytest.raises(DatasetError, match=r"simulated\.toml"):
        SimulatedDataset.open(tmp_path)


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="missing"):
        SimulatedDataset.open(tmp_path / "nowhere")


def test_an_unknown_split_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="known: all, train, val"):
        SimulatedDataset.open(tmp_path, "test")


def test_an_unknown_frame_is_refused():
    with pytest.raises(NotFoundError, match="named like 'sim-germany-kitti-0000-0000'"):
        SimulatedDataset(SimulatedConfig()).frame("x")


def test_a_frame_has_everything():
    config = SimulatedConfig(drives=1, frames_per_drive=2)
    frame = SimulatedDataset(config).frame("sim-germany-kitti-0000-0001")
    assert frame.frame_id == "sim-germany-kitti-0000-0001"
    assert frame.timestamp_ns > 0
    assert frame.labels is not None
    assert frame.camera is not None
    assert frame.world_from_lidar is not None
    assert frame.semantic is not None
    assert frame.instance is not None
    assert frame.image is None
    assert frame.semantic_names[int(frame.semantic.max())] in frame.semantic_names
