from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from shared_models.errors import ConfigError, NotFoundError, StorageError
from tests.sample_folders import write_pandaset
from upcycle.cli import app


def run(*arguments: object) -> str:
    """The command's output; an error of the project is raised as it is."""
    result = CliRunner().invoke(app, ["data", *map(str, arguments)], terminal_width=300)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def pandaset(tmp_path):
    return write_pandaset(tmp_path / "pandaset")


def test_frames_are_listed(make_kitti):
    lines = run("ls", "--dataset", "kitti", "--root", make_kitti(), "--json").splitlines()
    first = json.loads(lines[0])
    assert first["frame"] == "training-000000"
    assert first["labels"] == 1
    assert json.loads(lines[-1])["labels"] is None
    table = run("ls", "--dataset", "kitti:train", "--root", make_kitti(folder="again"), "--frames", 1)
    assert "training-000000" in table
    assert "Car 1" in table


def test_a_picture_is_written(make_kitti, pandaset, tmp_path):
    out = tmp_path / "pictures" / "one.png"
    beside = ("--beside", "01", "--beside-dataset", "pandaset", "--beside-root", pandaset)
    run("show", "training-000000", "--dataset", "kitti", "--root", make_kitti(), "--out", out, "--camera-only", *beside)
    assert out.read_bytes().startswith(b"\x89PNG")


def test_detections_are_drawn(make_kitti, tmp_path):
    root, path = make_kitti(), tmp_path / "found.txt"
    path.write_text("Car -1 -1 -1.57 562 180 678 270 1.60 2.00 4.00 0.00 1.60 12.00 -1.57 0.90\n")
    given = ("show", "training-000000", "--dataset", "kitti", "--root", root)
    run(*given, "--out", tmp_path / "with.png", "--detections", path)
    run(*given, "--out", tmp_path / "without.png")
    assert (tmp_path / "with.png").read_bytes() != (tmp_path / "without.png").read_bytes()


@pytest.mark.parametrize(("given", "message"), [("77", "none of its 3 frames: training-000000"), ("0000", "fits 2")])
def test_an_unknown_frame_names_known_ones(make_kitti, tmp_path, given, message):
    root = make_kitti(training=1) if given == "0000" else make_kitti()
    frame = "000000" if given == "0000" else given
    with pytest.raises(NotFoundError, match=message):
        run("show", frame, "--dataset", "kitti", "--root", root, "--out", tmp_path / "x.png")


def test_frames_are_exported_and_read_back(pandaset, tmp_path):
    run("export", "--dataset", "pandaset", "--root", pandaset, "--out", tmp_path / "out", "--frames", 1)
    (line,) = run("ls", "--dataset", "kitti:trainval", "--root", tmp_path / "out", "--json").splitlines()
    assert json.loads(line)["classes"] == {"Car": 1, "Pedestrian": 1}


def test_statistics_side_by_side(make_kitti, pandaset, tmp_path):
    page, numbers = tmp_path / "page.md", tmp_path / "numbers.json"
    page.write_text("<!-- statistics: begin -->\n<!-- statistics: end -->\n")
    given = ("--dataset", "kitti", "--root", make_kitti(), "--dataset", "pandaset", "--root", pandaset)
    run("stats", *given, "--compare", "kitti=pandaset", "--markdown", page, "--json", numbers, "--frames", 2)
    assert "| ÷ pandaset |" in page.read_text()
    found = json.loads(numbers.read_text())
    assert [s["dataset"] for s in found] == ["kitti", "pandaset"]
    assert found[1]["values"]["frames"] == 2


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("ls", "--dataset", "kitti"), ConfigError, "--root"),
        (("stats", "--dataset", "kitti", "--root", "a", "--root", "b"), ConfigError, "one --root for each"),
        (("export", "--dataset", "kitti", "--format", "csv", "--out", "o"), ConfigError, "expected kitti"),
    ],
)
def test_wrong_options_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        run(*arguments)


def test_a_pair_that_is_none_and_a_second_folder_without_frame_are_refused(make_kitti, tmp_path):
    given = ("--dataset", "kitti", "--root", make_kitti())
    with pytest.raises(ConfigError, match="SIMULATED=REAL"):
        run("stats", *given, "--compare", "kitti")
    with pytest.raises(ConfigError, match="need --beside"):
        run("show", "training-000000", *given, "--out", tmp_path / "x.png", "--beside-root", tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        run("show", "training-000000", *given, "--out", tmp_path / "file" / "x.png")
