from __future__ import annotations

import numpy as np
import pytest

from shared_models.errors import ConfigError, DatasetError, NotFoundError, UnknownNameError
from upcycle.data_sources import open_source


def test_a_dataset_with_split_and_folder(make_kitti):
    source = open_source("kitti:val", make_kitti(training=3))
    assert (source.name, source.split, source.label) == ("kitti", "val", "kitti:val")
    assert source.dataset.frame_ids == ("training-000001",)
    assert not source.is_simulated
    np.testing.assert_array_equal(source.sensor_m(), [0, 0, 0])


def test_kitti_gives_the_whole_turn_where_there_is_one(make_kitti):
    root = make_kitti()
    source = open_source("kitti", root)
    whole = len(source.frame("training-000000").points)
    assert whole > len(source.dataset.frame("training-000000").points)
    (root / "training" / "velodyne_reduced").mkdir()
    (root / "training" / "velodyne" / "000000.bin").rename(root / "training" / "velodyne_reduced" / "000000.bin")
    assert len(source.frame("training-000000").points) == whole  # now this is all there is


def test_an_ending_is_enough_where_only_one_frame_has_it(make_kitti):
    source = open_source("kitti:training", make_kitti(training=12))
    assert source.find("11") == "training-000011"
    with pytest.raises(NotFoundError, match="fits 2 frames: training-000000, training-000010"):
        source.find("0")


@pytest.mark.parametrize(
    ("given", "root", "error", "message"),
    [
        ("kitti", None, ConfigError, "--root"),
        ("kitti,seed=1", "x", ConfigError, "takes no settings"),
        ("kity", "x", UnknownNameError, "kitti"),
        ("kitti", "missing", DatasetError, "missing"),
    ],
)
def test_wrong_names_are_refused(given, root, error, message, tmp_path):
    with pytest.raises(error, match=message):
        open_source(given, None if root is None else tmp_path / root)


class TestSimulated:
    @pytest.fixture(autouse=True)
    def _needs_the_simulator(self):
        pytest.importorskip("embreex", reason="needs the extra sim")

    def test_settings_follow_the_name(self):
        source = open_source("simulated:val,drives=5,frames_per_drive=2,sensor=waymo,domain=usa,weather=rain", None)
        assert source.label == "simulated waymo usa rain"
        assert source.is_simulated
        assert len(source.dataset) == 2
        assert source.sensor_m()[2] == pytest.approx(2.18)  # Waymo's origin is on the ground

    def test_settings_of_the_folder_come_before_the_commands_own(self, tmp_path):
        (tmp_path / "simulated.toml").write_text('drives = 2\nfov = "camera"\n')
        own = {"fov": "full", "image": True}
        assert open_source("simulated", tmp_path, own).dataset.config.fov == "camera"
        assert open_source("simulated", tmp_path, own).dataset.config.drives == 2
        assert open_source("simulated,drives=3", tmp_path).dataset.config.drives == 3
        assert open_source("simulated", None, own).dataset.config.fov == "full"
        assert open_source("simulated,fov=camera", None, own).dataset.config.fov == "camera"

    @pytest.mark.parametrize(
        ("given", "message"),
        [("simulated,usa", "KEY=VALUE"), ("simulated,place=usa", "unknown key"), ("simulated,drives=many", "drives")],
    )
    def test_wrong_settings_are_refused(self, given, message):
        with pytest.raises(ConfigError, match=message):
            open_source(given, None)

    def test_a_frame_is_measured_where_its_sensor_stands(self):
        from shared_models.statistics.summary import collect

        source = open_source("simulated,drives=1,frames_per_drive=1,sensor=waymo,fov=full", None)
        found = collect("s", [source.frame(source.dataset.frame_ids[0])], source.sensor_m(), is_simulated=True)
        assert found.values["elevation rows, full turn"] == 64
        assert found.values["points, full turn"] > 120_000
