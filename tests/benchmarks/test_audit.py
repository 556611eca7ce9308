"""The audit's benchmark runs to its end on two simulated scenes; its numbers are not judged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner

from benchmarks import audit
from shared_models.errors import ConfigError


@pytest.fixture(autouse=True)
def _same_threads_afterwards():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_it_measures_attacks_beside_random_points(tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(audit.main)
    report = tmp_path / "new" / "audit.json"
    words = ["--attack", "occupancy", "--attack", "mean_scene", "--layer", "conv1", "--own", "2", "--victims", "1"]
    words += ["--set", "occupancy.steps=1", "--set", "occupancy.decoder.width=4", "--json", str(report)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    found = json.loads(report.read_text())
    assert [(row["attack"], row["layer"], row["steps"]) for row in found["results"]] == [
        ("occupancy", "conv1", 1),
        ("mean_scene", "conv1", None),
    ]
    for row in found["results"]:
        assert set(audit.SHOWN) <= row["measures"].keys()
        assert row["random_points"]["points"] == row["measures"]["points"]
    # conv1 names the voxels: whatever else an attack learned, no point is further off than a voxel is long
    assert found["results"][0]["measures"]["f_score_0.2m"]["mean"] > 0.99


def test_settings_are_read_by_attack() -> None:
    assert audit.settings_from(["decoder.steps=3", "decoder.windows=2", "occupancy.decoder.width=8"]) == {
        "decoder": {"steps": 3, "windows": 2},
        "occupancy": {"decoder": {"width": 8}},
    }
    with pytest.raises(ConfigError, match="ATTACK.KEY"):
        audit.settings_from(["steps=3"])
