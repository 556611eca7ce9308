"""The audit's benchmark runs to its end on two simulated scenes; its numbers are not judged."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from benchmarks import audit, audit_layers
from server.audit.scenes import AuditedVehicle
from shared_models import detectors
from shared_models.errors import ConfigError


@pytest.fixture(autouse=True)
def _same_threads_afterwards():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_it_measures_attacks_beside_random_points(tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(audit.main)
    report, clouds = tmp_path / "new" / "audit.json", tmp_path / "clouds.npz"
    words = ["--attack", "occupancy", "--attack", "mean_scene@conv_out", "--layer", "conv1", "--own", "2"]
    words += ["--victims", "1", "--seed", "1", "--seed", "2", "--json", str(report), "--clouds", str(clouds)]
    words += ["--set", "occupancy.steps=1", "--set", "occupancy.decoder.width=4"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    found = json.loads(report.read_text())
    assert [(row["seed"], row["attack"], row["layer"], row["steps"]) for row in found["results"]] == [
        (1, audit_layers.RANDOM, "-", 0),
        (1, "occupancy", "conv1", 1),
        (2, audit_layers.RANDOM, "-", 0),
        (2, "occupancy", "conv1", 1),
    ]
    floor, restored = found["pooled"]["simulated"]
    assert (floor["attack"], restored["attack"]) == (audit_layers.RANDOM, "occupancy")
    assert restored["estimates"]["f_score_0.2m"]["scenes"] == 2
    # conv1 names the voxels: whatever else an attack learned, no point is further off than a voxel is long
    assert restored["estimates"]["f_score_0.2m"]["mean"] > 0.99 > floor["estimates"]["f_score_0.2m"]["mean"]
    assert np.load(clouds)["2|simulated|conv1|occupancy"].shape[1] == 4


def test_every_seed_has_drives_of_its_own() -> None:
    geometry = AuditedVehicle(detectors.build("second_iou", "tiny", seed=0)).geometry
    first, again, second = (audit_layers.read_scans(2, 1, None, seed, geometry) for seed in (1, 1, 2))
    for one, other in zip(first.own, again.own, strict=True):
        assert np.array_equal(one.points, other.points)
    scans = [scan.points for each in (first, second) for scan in (*each.own, *each.groups["simulated"])]
    assert len({points.tobytes() for points in scans}) == 6


def test_settings_are_read_by_attack() -> None:
    assert audit.settings_from(["decoder.steps=3", "decoder.windows=2", "occupancy.decoder.width=8"]) == {
        "decoder": {"steps": 3, "windows": 2},
        "occupancy": {"decoder": {"width": 8}},
    }
    with pytest.raises(ConfigError, match="ATTACK.KEY"):
        audit.settings_from(["steps=3"])
