from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from shared_models.errors import ConfigError, DatasetError
from upcycle.evaluate import app

LABEL = "Car 0.10 0 -1.57 562 180 678 270 1.6 2.0 4.0 0.5 1.6 12.0 -1.57\n"
DETECTION = "Car -1 -1 -1.57 562 180 678 270 1.6 2.0 4.0 0.5 1.6 12.0 -1.57 0.9\n"


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    for name, text in (("labels", LABEL), ("detections", DETECTION)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "000000.txt").write_text(text)
    return tmp_path / "labels", tmp_path / "detections"


def run(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_folder_is_scored(folders, tmp_path: Path) -> None:
    labels, detections = folders
    report = tmp_path / "new" / "report.json"
    result = run("kitti", "--labels", labels, "--detections", detections, "--json", report)
    assert result.exit_code == 0, result.output
    assert "Car (1/1/1)" in result.stdout
    assert "100.00" in result.stdout
    found = json.loads(report.read_text())
    assert found["ap_all"]["car"]["3d"] == [100, 100, 100]
    assert found["ap_all"]["car"].keys() >= {"image", "aos", "bev", "3d"}
    assert {"ap_r40", "ap_r11", "ap_all", "objects", "distance", "warnings"} <= found.keys()
    assert found["objects"] == {"car": [1, 1, 1], "pedestrian": [0, 0, 0], "cyclist": [0, 0, 0]}


def test_loose_overlaps(folders, tmp_path: Path) -> None:
    labels, detections = folders
    moved = DETECTION.replace(" 12.0 ", " 13.0 ")  # 4 m long, shifted by 1 m: an overlap of 0.6
    (detections / "000000.txt").write_text(moved)
    for overlap, ap in (("strict", 0), ("loose", 100)):
        run(
            "kitti", "--labels", labels, "--detections", detections, "--json", tmp_path / "r.json", "--overlap", overlap
        )
        assert json.loads((tmp_path / "r.json").read_text())["ap_all"]["car"]["3d"] == [ap] * 3
    result = run("kitti", "--labels", labels, "--detections", detections, "--overlap", "wide")
    assert isinstance(result.exception, ConfigError)


def test_a_page_is_written(folders, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    labels, detections = folders
    result = run("kitti", "--labels", labels, "--detections", detections, "--html", tmp_path / "page.html")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")


def test_missing_detection_files(folders) -> None:
    labels, detections = folders
    (detections / "000000.txt").unlink()
    result = run("kitti", "--labels", labels, "--detections", detections)
    assert isinstance(result.exception, DatasetError)
    assert run("kitti", "--labels", labels, "--detections", detections, "--allow-missing").exit_code == 0


@pytest.mark.parametrize("option", [("--json", "x.json"), ("--data", "upcycle-data"), ("--set", "a=1")])
def test_options_that_nothing_reads_are_refused(option: tuple[str, str], folders) -> None:
    alone = run(*option)
    assert isinstance(alone.exception, ConfigError)
    assert f"{option[0]} without --run" in str(alone.exception)
    labels, detections = folders
    before = run(*option, "kitti", "--labels", labels, "--detections", detections)
    assert isinstance(before.exception, ConfigError)
    assert f"{option[0]} before `kitti`" in str(before.exception)


def test_a_run_and_a_folder_together_are_refused(folders) -> None:
    labels, detections = folders
    result = run("--run", "run.toml", "kitti", "--labels", labels, "--detections", detections)
    assert isinstance(result.exception, ConfigError)


def test_without_a_subcommand_there_is_help() -> None:
    result = run()
    assert result.exit_code == 0
    assert "kitti" in result.output
