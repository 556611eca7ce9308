from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from shared_models.errors import ConfigError, UpcycleError
from upcycle.demo import command
from upcycle.demo.command import app
from upcycle.demo.transport import problems_of

GOOD = {
    "frames_sent": 3,
    "frames_stored": 3,
    "scenes_sent": 6,
    "scenes_stored": 6,
    "frames_rejected": 0,
    "codecs": {"float32": {"max_abs_diff": 0.0, "unmatched": 0, "vehicle_detections": 12}},
}


def run(*arguments: str) -> tuple[int, UpcycleError | None]:
    result = CliRunner().invoke(app, list(arguments))
    error = result.exception
    return result.exit_code, error if isinstance(error, UpcycleError) else None


def test_what_counts_as_a_problem() -> None:
    assert problems_of(GOOD) == []
    assert "2 (6) are stored" in problems_of(GOOD | {"frames_stored": 2})[0]
    assert "no frame was sent" in problems_of(GOOD | {"frames_sent": 0, "frames_stored": 0})
    assert "1 frames could not be used" in problems_of(GOOD | {"frames_rejected": 1})
    differing = {"float32": {"max_abs_diff": 1e-3, "unmatched": 0, "vehicle_detections": 12}}
    assert "differ by 0.001" in problems_of(GOOD | {"codecs": differing})[0]
    silent = {"float32": {"max_abs_diff": None, "unmatched": 0, "vehicle_detections": 0}}
    assert "says nothing" in problems_of(GOOD | {"codecs": silent})[0]
    lossy = {"int4": {"max_abs_diff": 1.0, "unmatched": 5, "vehicle_detections": 12}}
    assert problems_of(GOOD | {"codecs": lossy}) == []
    assert problems_of(GOOD | {"codecs": differing, "guard": "noise"}) == []  # the server sees guarded features


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    _, error = run("--kitti", str(tmp_path / "nowhere"))
    assert isinstance(error, ConfigError)
    assert "nowhere is not a folder" in str(error)


def test_an_old_folder_is_not_counted_again(tmp_path: Path, make_kitti) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "something").touch()
    _, error = run("--kitti", str(make_kitti()), "--setting", "tiny", "--keep", str(tmp_path / "kept"))
    assert isinstance(error, ConfigError)
    assert "is not empty" in str(error)


def test_whole_demonstration_with_real_processes(tmp_path: Path, make_kitti) -> None:
    root = make_kitti(training=3, testing=2)
    file = tmp_path / "out" / "demo.json"
    code, error = run("--kitti", str(root), "--setting", "tiny", "--json", str(file))
    assert (code, error) == (0, None)
    results = json.loads(file.read_text())
    assert results["frames_sent"] == results["frames_stored"] == 5
    assert results["scenes_sent"] == results["scenes_stored"] == 5 * len(command.ALL_CODECS)
    assert results["detections_max_abs_diff"]["float32"] == 0.0
    assert set(results["bytes_per_frame"]) == set(command.ALL_CODECS)
    assert results["codecs"]["float32"]["vehicle_detections"] > 0
    assert "untrained" in results["weights"]


def test_without_kitti_the_fleet_is_simulated_and_says_so(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(command, "SIMULATED", "simulated,drives=1,frames_per_drive=2")
    file = tmp_path / "demo.json"
    result = CliRunner().invoke(
        app, ["--transport-only", "--setting", "tiny", "--codec", "float32", "--json", str(file)]
    )
    assert result.exit_code == 0
    assert "4 simulated frames sent by 2 vehicles" in result.stdout
    results = json.loads(file.read_text())
    assert results["is_simulated"] is True
    assert results["frames_stored"] == 4
    assert results["detections_max_abs_diff"] == {"float32": 0.0}


def test_a_broken_frame_is_a_problem_and_the_others_arrive(tmp_path: Path, make_kitti) -> None:
    root = make_kitti(training=3, testing=1)
    (root / "training/velodyne/000001.bin").write_bytes(b"123")
    file = tmp_path / "demo.json"
    code, _ = run("--kitti", str(root), "--setting", "tiny", "--codec", "int8", "--json", str(file))
    results = json.loads(file.read_text())
    assert code == 1
    assert results["frames_stored"] == results["frames_sent"] == 3
    assert results["problems"] == ["1 frames could not be used"]
    assert "000001.bin" in results["rejected"][0]["reason"]
