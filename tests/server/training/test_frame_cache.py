from __future__ import annotations

import logging
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from server.training import atomic_files, frame_cache
from server.training.frame_cache import FrameCache, frame_bytes, read_frame
from shared_models.dataset import Dataset
from shared_models.datasets.simulated import SimulatedDataset
from shared_models.errors import ConfigError, NotFoundError, StorageFullError
from shared_models.records import Frame
from shared_models.simulation.simulator import SimulatedConfig

CONFIG = SimulatedConfig(drives=1, frames_per_drive=2)
KEY = "ab" * 32


class Made(Dataset):
    """Two frames made from their names; counts how often."""

    def __init__(self):
        self.made: list[str] = []

    @classmethod
    def open(cls, root, split="all"):
        raise NotImplementedError

    @property
    def frame_ids(self):
        return ("a", "b")

    def frame(self, frame_id):
        self.made.append(frame_id)
        points = np.full((3, 4), ord(frame_id), np.float32)
        return Frame(frame_id=frame_id, points=points, semantic=np.zeros(3, np.uint8), timestamp_ns=5)


def assert_same(left: Frame, right: Frame) -> None:
    """Equal in all that a cached frame has."""
    for name in ("frame_id", "timestamp_ns", "point_fields"):
        assert getattr(left, name) == getattr(right, name)
    pairs = [(left.points, right.points), (left.world_from_lidar, right.world_from_lidar)]
    assert left.labels is not None
    assert right.labels is not None
    assert left.labels.class_names == right.labels.class_names
    names = ("boxes", "image_boxes", "occlusion", "truncation", "image_only_boxes", "track_ids")
    pairs += [(getattr(left.labels, name), getattr(right.labels, name)) for name in names]
    assert left.camera is not None
    assert right.camera is not None
    assert left.camera.image_size == right.camera.image_size
    pairs += [
        (getattr(left.camera, name), getattr(right.camera, name)) for name in ("image_from_camera", "camera_from_lidar")
    ]
    for one, other in pairs:
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


def test_a_simulated_frame_comes_back_as_it_was(tmp_path):
    dataset = SimulatedDataset(CONFIG)
    frame_id, frame = dataset.frame_ids[0], dataset.frame(dataset.frame_ids[0])
    cache = FrameCache.of_simulated(SimulatedDataset(CONFIG), tmp_path)
    assert cache.frame_ids == dataset.frame_ids
    assert_same(cache.frame(frame_id), frame)  # made
    assert [path.name for path in cache.folder.iterdir()] == [f"{frame_id}.npz"]
    assert_same(FrameCache.of_simulated(SimulatedDataset(CONFIG), tmp_path).frame(frame_id), frame)  # read


def test_other_settings_and_another_simulator_have_other_folders(tmp_path, monkeypatch):
    folders = {
        FrameCache.of_simulated(SimulatedDataset(config), tmp_path).folder
        for config in (CONFIG, replace(CONFIG, seed=1), replace(CONFIG, fov="full"))
    }
    monkeypatch.setattr(frame_cache, "simulator_code_sha256", lambda: "other")
    folders.add(FrameCache.of_simulated(SimulatedDataset(CONFIG), tmp_path).folder)
    assert len(folders) == 4


def test_each_frame_is_made_once(tmp_path):
    inner = Made()
    cache = FrameCache(inner, tmp_path, KEY)
    frames = [cache.frame(name) for name in "abab"]
    assert inner.made == ["a", "b"]
    assert [frame.points[0, 0] for frame in frames] == [97, 98, 97, 98]
    assert {frame.semantic for frame in frames} == {None}  # made or read, the same
    assert frames[0].timestamp_ns == frames[2].timestamp_ns == 5
    with pytest.raises(NotFoundError, match="no frame 'c'"):
        cache.frame("c")
    with pytest.raises(ConfigError, match="of_simulated"):
        FrameCache.open(tmp_path)


@pytest.mark.parametrize("damage", [lambda data: data[:100], lambda data: b"", lambda data: data[:-200] + bytes(200)])
def test_a_damaged_file_is_made_again(tmp_path, caplog, damage):
    inner = Made()
    cache = FrameCache(inner, tmp_path, KEY)
    cache.frame("a")
    path = cache.folder / "a.npz"
    path.write_bytes(damage(path.read_bytes()))
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(cache.frame("a").points, np.full((3, 4), 97))
    assert "damaged" in caplog.text
    assert inner.made == ["a", "a"]
    assert read_frame(path, "a") is not None


def test_another_frames_file_is_not_taken(tmp_path):
    cache = FrameCache(Made(), tmp_path, KEY)
    cache.frame("a")
    (cache.folder / "a.npz").rename(cache.folder / "b.npz")
    assert cache.frame("b").points[0, 0] == 98


def test_a_full_disk_only_costs_time(tmp_path, monkeypatch, caplog):
    def full(path, data):
        raise StorageFullError(f"{path}: no space left on this disk; free some")

    monkeypatch.setattr(frame_cache, "write_whole", full)
    inner = Made()
    cache = FrameCache(inner, tmp_path, KEY)
    with caplog.at_level(logging.WARNING):
        assert [cache.frame(name).frame_id for name in "aab"] == ["a", "a", "b"]
    assert inner.made == ["a", "a", "b"]
    assert caplog.text.count("cannot be written") == 1


WRITER = """
import sys
from pathlib import Path
import numpy as np
from server.training.atomic_files import write_whole
from server.training.frame_cache import frame_bytes, read_frame
from shared_models.records import Frame
path = Path(sys.argv[1])
data = frame_bytes(Frame(frame_id="a", points=np.full((20000, 4), 7, np.float32)))
for _ in range(60):
    write_whole(path, data)
    frame = read_frame(path, "a")
    assert frame is not None and (frame.points == 7).all()
"""


def test_two_processes_in_one_folder(tmp_path, repository):
    path = tmp_path / "a.npz"
    command = [sys.executable, "-W", "error", "-c", WRITER, str(path)]
    writers = [subprocess.Popen(command, cwd=repository, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    assert [(w.communicate(timeout=120)[1], w.returncode) for w in writers] == [("", 0)] * 2
    assert [p.name for p in tmp_path.iterdir()] == ["a.npz"]


def test_a_killed_writer_leaves_no_half_file(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"

    def killed(source, target):
        raise KeyboardInterrupt

    monkeypatch.setattr(atomic_files.os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        atomic_files.write_whole(path, frame_bytes(Made().frame("a")))
    assert not path.exists()
