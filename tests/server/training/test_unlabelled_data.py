from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from server.training.augmentation_chain import AugmentationConfig, compose
from server.training.batches import Sample
from server.training.source_config import SourceConfig
from server.training.sources import open_source
from server.training.unlabelled_data import PrepareTwice, UnlabelledFrames
from shared_models.errors import DatasetError, NotFoundError
from tests.small_runs import write_frames

FIELDS = ("x", "y", "z", "intensity")
SAMPLE = Sample(index=1, item=1, epoch=0, seed=4)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return write_frames(tmp_path_factory.mktemp("frames") / "kitti", 3, empty=(2,))


def frames_of(root: Path, view: str = "all") -> UnlabelledFrames:
    source = open_source(SourceConfig(dataset="kitti", root=str(root), view=view), with_labels=False)  # type: ignore[arg-type]
    return UnlabelledFrames(source.dataset, source.frame_ids, FIELDS, view)


def test_points_come_without_any_label(root: Path) -> None:
    frames = frames_of(root)
    assert len(frames) == 3
    scan = frames.scan(frames.frame_ids[0])
    raw = np.fromfile(root / "training/velodyne/000000.bin", "<f4").reshape(-1, 4)
    assert len(scan.points) > 100
    assert {row.tobytes() for row in scan.points} <= {row.tobytes() for row in raw}
    assert len(scan.truth) == 0
    assert len(frames.scan(frames.frame_ids[2]).points) == 0
    with pytest.raises(NotFoundError):
        frames.scan("training-000009")


def test_label_files_are_not_even_read(tmp_path: Path) -> None:
    root = write_frames(tmp_path / "kitti", 2)
    for file in (root / "training/label_2").glob("*.txt"):
        file.write_text("this is no label\n")
    frames = frames_of(root)
    assert len(frames.scan(frames.frame_ids[1]).points) > 0


def test_the_view_of_the_camera(root: Path, monkeypatch) -> None:
    frames = frames_of(root, "camera")
    name, read = frames.frame_ids[0], frames._dataset.frame
    inside = read(name)
    behind = np.array([[-5, 0, 0, 0.5]], dtype=np.float32)
    wide = replace(inside, points=np.concatenate((behind, inside.points)))
    monkeypatch.setattr(frames, "_dataset", SimpleNamespace(frame=lambda frame_id: wide))
    np.testing.assert_array_equal(frames.scan(name).points, inside.points)
    monkeypatch.setattr(frames, "_view", "all")
    assert len(frames.scan(name).points) == len(inside.points) + 1
    blind = SimpleNamespace(frame=lambda frame_id: replace(wide, camera=None))
    monkeypatch.setattr(frames, "_dataset", blind)
    monkeypatch.setattr(frames, "_view", "camera")
    with pytest.raises(DatasetError, match="has no camera; read it with view = 'all'"):
        frames.scan(name)


def test_teacher_and_student_see_the_same_scan_once_changed(root: Path) -> None:
    config = AugmentationConfig(order=("flip", "rotation", "scaling"))
    prepare = PrepareTwice(frames_of(root), compose(config))
    scan, augmented, transform = prepare(SAMPLE)
    again = prepare(SAMPLE)
    assert scan.frame_id == augmented.frame_id == prepare.frames.frame_ids[1]
    np.testing.assert_array_equal(augmented.points, again[1].points)
    assert transform == again[2]
    np.testing.assert_array_equal(scan.points, prepare.frames.scan(scan.frame_id).points)
    np.testing.assert_allclose(transform.points(scan.points), augmented.points, atol=1e-4)
    assert not np.allclose(scan.points, augmented.points, atol=0.1)
