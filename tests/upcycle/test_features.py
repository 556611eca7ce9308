from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from server.repositories.archive import open_archive
from shared_models.errors import ConfigError
from tests.small_runs import small_table, write_frames
from upcycle.features import app


@pytest.fixture
def file(tmp_path: Path) -> Path:
    root = write_frames(tmp_path / "kitti", 2)
    source = f"data.unlabelled={{dataset='kitti', root='{root}', split='all'}}"
    path = tmp_path / "run.json"
    path.write_text(json.dumps(small_table(root, "recipe=upcycling", source)))
    return path


def run(*words: str):
    return CliRunner().invoke(app, list(words))


def test_features_of_the_unlabelled_frames_are_stored(file: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    result = run("--run", str(file), "--data", str(data), "--set", "settings.store.codec=int8")
    assert result.exit_code == 0, result.output
    archive = open_archive(data)
    scenes = list(archive.catalogue.scenes())
    archive.close()
    assert [scene.manifest.codec for scene in scenes] == ["int8", "int8"]
    total = sum(scene.manifest.payload_bytes for scene in scenes)
    assert f"2 scenes of {scenes[0].manifest.vehicle_id}, 2 added now, {total:,} bytes" in result.stdout
    again = run("--run", str(file), "--data", str(data), "--set", "settings.store.codec=int8")
    assert "2 scenes of" in again.stdout
    assert "0 added now, 0 bytes" in again.stdout


def test_a_run_without_stored_features_is_refused(file: Path, tmp_path: Path) -> None:
    result = run("--run", str(file), "--data", str(tmp_path / "data"), "--set", "recipe=supervised")
    assert isinstance(result.exception, ConfigError)
    assert "needs recipe upcycling, data.unlabelled" in str(result.exception)
