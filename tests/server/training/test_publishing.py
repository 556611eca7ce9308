from __future__ import annotations

import os
from pathlib import Path

import pytest

from server.training.publishing import Publisher
from server.training.seen_scenes import SeenScenes
from shared_models import checkpoints, detectors
from shared_models.errors import ConfigError, StorageError


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> list[Path]:
    """Three checkpoints, each with the list of scenes that it has seen."""
    folder = tmp_path_factory.mktemp("checkpoints")
    for seed in range(3):
        detector = detectors.build("second_iou", "tiny", seed=seed).eval()
        checkpoints.save(detector, folder / str(seed), is_trained=True, created_ns=seed)
        SeenScenes(by_vehicle={"0123": frozenset({"a" * 64})}).write(folder / str(seed))
    return [folder / str(seed) for seed in range(3)]


def test_the_link_leads_to_the_files_of_the_last_one_and_to_nothing_else(made: list[Path], tmp_path: Path) -> None:
    publisher = Publisher(tmp_path / "out" / "model")
    assert publisher.checkpoint_id == ""
    for path in made:
        publisher.publish(path)
        publisher.publish(path)
        assert publisher.checkpoint_id == checkpoints.read_manifest(path).checkpoint_id
        assert sorted(file.name for file in publisher.link.iterdir()) == ["manifest.json", "model.safetensors"]
        assert (publisher.link / "model.safetensors").read_bytes() == (path / "model.safetensors").read_bytes()
    assert len(list((tmp_path / "out/.model-releases").iterdir())) == 2  # the one before may be on its way to vehicles


def test_a_link_that_could_not_be_changed_still_leads_to_the_one_before(made, tmp_path: Path, monkeypatch) -> None:
    publisher = Publisher(tmp_path / "model")
    publisher.publish(made[0])

    def fail(source, target) -> None:
        raise OSError(5, os.strerror(5))

    with monkeypatch.context() as patch:
        patch.setattr("server.training.publishing.os.replace", fail)
        with pytest.raises(StorageError, match="cannot be changed|cannot be written"):
            publisher.publish(made[1])
    assert publisher.checkpoint_id == checkpoints.read_manifest(made[0]).checkpoint_id
    publisher.publish(made[1])
    assert publisher.checkpoint_id == checkpoints.read_manifest(made[1]).checkpoint_id


def test_a_folder_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    with pytest.raises(ConfigError, match="exists and is no link"):
        Publisher(tmp_path / "model")
