from __future__ import annotations

from pathlib import Path

import pytest
import torch

from shared_models.errors import DatasetError, StorageError
from shared_models.records import Detections
from vehicle_client.detection_files import load_detections, save_detections


def detections(count: int) -> Detections:
    generator = torch.Generator().manual_seed(count)
    return Detections(
        boxes=torch.randn(count, 7, generator=generator),
        scores=torch.rand(count, generator=generator),
        labels=torch.arange(count) % 2,
        class_names=("Car", "Pedestrian"),
    )


@pytest.mark.parametrize("count", [0, 5])
def test_there_and_back(tmp_path: Path, count):
    path = save_detections(tmp_path / "new", "training-000001", detections(count))
    loaded = load_detections(path)
    assert [p.name for p in path.parent.iterdir()] == ["training-000001.npz"]
    assert torch.equal(loaded.boxes, detections(count).boxes)
    assert torch.equal(loaded.labels, detections(count).labels)
    assert loaded.class_names == ("Car", "Pedestrian")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 broken", b"\x80\x04\x95pickle"])
def test_other_files_are_refused(tmp_path: Path, content):
    path = tmp_path / "x.npz"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"x\.npz: expected a file of detections"):
        load_detections(path)


def test_a_missing_file_is_refused(tmp_path: Path):
    with pytest.raises(DatasetError, match="expected a file of detections"):
        load_detections(tmp_path / "x.npz")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        save_detections(tmp_path / "file", "a", detections(1))
