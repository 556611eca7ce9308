from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from shared_models.errors import DatasetError
from upcycle.splits import app

SIMULATED = "simulated:train,drives=5,frames_per_drive=10"


def run(*words: str) -> str:
    result = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_make_and_check_simulated_frames(tmp_path):
    out = run("make", "--dataset", SIMULATED, "--out", str(tmp_path), "--name", "made", "--ratio", "0.1")
    assert out.count("4 of 40 frames") == 3
    paths = sorted(tmp_path.iterdir())
    assert [path.name for path in paths] == [f"made-0.1-seed{k}.json" for k in range(3)]
    assert run("check", *map(str, paths)).count("the dataset gives the same split") == 3


def test_make_and_check_a_folder(tmp_path, make_kitti):
    root, out = str(make_kitti(training=6)), tmp_path / "splits"
    run("make", "--dataset", "kitti:train", "--root", root, "--out", str(out), "--seed", "5")
    paths = sorted(out.iterdir())
    assert [path.name for path in paths] == ["kitti-train-0.02-seed5.json", "kitti-train-0.1-seed5.json"]
    assert "not compared" in run("check", str(paths[0]))
    assert "the same split" in run("check", str(paths[0]), "--root", root)


def test_other_frames_and_edited_choices_are_refused(tmp_path, make_kitti):
    root, out = str(make_kitti(training=20, points=10)), tmp_path / "splits"
    run("make", "--dataset", "kitti:train", "--root", root, "--out", str(out), "--ratio", "0.4", "--seed", "5")
    path = next(out.iterdir())
    other = str(make_kitti(training=8, folder="other"))
    with pytest.raises(DatasetError, match="made of 10 other frames than the 4 given"):
        run("check", str(path), "--root", other)
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(manifest | {"seed": 6}))  # the frames of another seed
    with pytest.raises(DatasetError, match="give another split"):
        run("check", str(path), "--root", root)
