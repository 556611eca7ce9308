"""The benchmark of evaluation runs to its end and writes what it promises; its times are not judged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner

from benchmarks import evaluation

LABEL = "000002 Car 0.10 0 -1.57 562 180 678 270 1.6 2.0 4.0 0.5 1.6 12.0 -1.57\n"
DETECTION = "000002 Car -1 -1 -1.57 562 180 678 270 1.6 2.0 4.0 0.5 1.6 12.0 -1.57 0.9\n"


@pytest.fixture(autouse=True)
def _same_threads_afterwards():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def run(*arguments: object):
    app = typer.Typer()
    app.command()(evaluation.main)
    return CliRunner().invoke(app, [str(each) for each in arguments])


@pytest.mark.parametrize("is_golden", [True, False])
def test_it_runs_to_its_end(is_golden: bool, tmp_path: Path) -> None:
    (tmp_path / "label_2.txt").write_text(LABEL)
    (tmp_path / "detections.txt").write_text(DETECTION)
    golden = ("--golden", tmp_path) if is_golden else ()
    report = tmp_path / "new" / "report.json"
    result = run(*golden, "--frames", 5, "--repeats", 1, "--threads", 1, "--json", report)
    assert result.exit_code == 0, result.output
    found = json.loads(report.read_text())
    assert found["phases_s"].keys() == set(evaluation.PHASES)
    assert found["frames"] == 5
    assert found["labels"] == 5 if is_golden else found["labels"] > 10
    assert 0 < found["evaluation_s"] <= found["with_reading_s"]
    assert max(found["ap_r40"]["car"]["bev"]) > 0


def test_missing_golden_files_are_named(tmp_path: Path) -> None:
    result = run("--golden", tmp_path)
    assert result.exit_code == 1
    assert "label_2.txt" in result.output.replace("\n", "")  # a long path is broken across lines
