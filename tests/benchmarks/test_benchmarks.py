"""The benchmarks run to their end on a small scan and write what they promise; their times are not judged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from benchmarks import codec, vehicle
from shared_models.codecs import CODECS


@pytest.fixture(autouse=True)
def _same_threads_afterwards():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """A folder with one scan: 2,000 points over the range of the setting `tiny`."""
    random = np.random.default_rng(0)
    points = random.uniform((0, -20, -3, 0), (35, 20, 1, 1), (2000, 4)).astype("<f4")
    folder = tmp_path / "scans"
    folder.mkdir()
    (folder / "000000.bin").write_bytes(points.tobytes())
    return folder


def run(module: Any, *arguments: object) -> str:
    app = typer.Typer()
    app.command()(module.main)
    result = CliRunner().invoke(app, [str(each) for each in arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_codec(scans: Path, tmp_path: Path) -> None:
    report = tmp_path / "new" / "codec.json"
    run(codec, "--points", scans, "--setting", "tiny", "--repeats", 1, "--json", report)
    found = json.loads(report.read_text())
    assert {"frames", "detector", "setting", "weights", "threads", "active_cells", "raw_points_bytes"} <= found.keys()
    assert (found["frames"], found["raw_points_bytes"]["median"]) == (1, 32_000)
    assert found["codecs"].keys() == CODECS.keys()
    for numbers in found["codecs"].values():
        assert numbers.keys() == {"bytes_per_frame", "encode_ms", "decode_ms", "largest_error"}
    assert len(found["measurements"]) == len(CODECS)


def test_vehicle(scans: Path, tmp_path: Path) -> None:
    report = tmp_path / "new" / "vehicle.json"
    run(vehicle, "--points", scans / "000000.bin", "--setting", "tiny", "--runs", 1, "--threads", 1, "--json", report)
    found = json.loads(report.read_text())
    assert (found["points"], found["runs"], found["codec"]) == (2000, 1, "int8")
    assert found["stages_ms"].keys() == {*vehicle.STAGES, "total"}
    assert {"cells", "payload_bytes", "peak_memory_bytes", "backbone_gflop", "backbone_to_bound"} <= found.keys()


@pytest.mark.parametrize(
    ("module", "scan", "rounds"),
    [(codec, "", "--repeats"), (vehicle, "000000.bin", "--runs")],
    ids=["codec", "vehicle"],
)
def test_as_make_bench_calls_them(module: Any, scan: str, rounds: str, scans: Path) -> None:
    """Without a file for the numbers."""
    assert "int8" in run(module, "--points", scans / scan, "--setting", "tiny", rounds, 1, "--threads", 1)
