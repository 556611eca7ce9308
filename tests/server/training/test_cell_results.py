from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from server.training.cell_results import (
    CellResult,
    load_result,
    manifest_hashes,
    require_metrics,
    result_path,
    save_result,
)
from server.training.experiment import Cell, load_experiment
from server.training.run_config import run_text
from server.training.run_folder import run_id_of
from server.training.splits import make_split, save_split
from shared_models.configuration import to_dict
from shared_models.errors import ConfigError, DatasetError

METRIC, WEIGHTS = "ap_all/strict/car/3d/moderate", "1" * 64
BASE = """
name = "base"
[data.labelled]
dataset = "kitti"
root = "somewhere"
manifest = "MANIFEST"
part = "labelled"
[data.evaluation]
dataset = "kitti"
root = "elsewhere"
[loop]
steps = 5
"""
TEXT = """
name = "partial"
base = "base.toml"
seeds = [1, 2]
[[methods]]
name = "baseline"
[[methods]]
name = "longer"
starts_from = "baseline"
change.loop.steps = 9
"""
NAMES = [f"training-{number:06d}" for number in range(20)]


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "kitti-0.2-seed0.json"
    save_split(make_split(NAMES, 0.2, 0, "kitti:train"), path)
    return path


@pytest.fixture
def file(tmp_path: Path, manifest: Path) -> Path:
    (tmp_path / "base.toml").write_text(BASE.replace("MANIFEST", str(manifest)))
    path = tmp_path / "experiment.toml"
    path.write_text(TEXT)
    return path


def result_of(cell: Cell, checkpoint: str = "", parent_sha256: str = "", *, found: str = METRIC) -> CellResult:
    run = cell.run(checkpoint)
    return CellResult(
        cell=cell.name, method=cell.method, split=cell.split, seed=cell.seed, run_id=run_id_of(run),
        run_file=to_dict(run), run_file_sha256="0" * 64, checkpoint="c", model_sha256=WEIGHTS, seconds=1.5,
        numbers={found: 1.5, "loss": 2.0}, manifest_sha256=manifest_hashes(run), parent_sha256=parent_sha256,
    )  # fmt: skip


def test_a_result_comes_back(file: Path, tmp_path: Path) -> None:
    _, cells = load_experiment(file)
    for cell in cells:
        assert load_result(tmp_path, cell) is None
        result = result_of(cell, *(("here", WEIGHTS) if cell.parent else ()))
        save_result(tmp_path, result)
        assert load_result(tmp_path, cell) == result
    paths = [result_path(tmp_path, cell.name) for cell in cells]
    assert len(set(paths)) == len(cells)
    assert all(path.is_file() and path.parent == tmp_path for path in paths)
    assert result_path(tmp_path, "10 %, seed 1") != result_path(tmp_path, "10 /, seed 1")


def test_a_result_of_other_settings_is_not_taken_for_the_cell(file: Path, tmp_path: Path) -> None:
    _, cells = load_experiment(file)
    save_result(tmp_path, result_of(cells[0]))
    save_result(tmp_path, result_of(cells[2], "here", WEIGHTS))
    file.write_text(TEXT.replace("steps = 9", "steps = 10"))
    _, changed = load_experiment(file)
    assert run_text(changed[0].run()) == run_text(cells[0].run())
    assert load_result(tmp_path, changed[0]) is not None
    with pytest.raises(DatasetError, match="this cell was run with other settings"):
        load_result(tmp_path, changed[2])


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 1}', '{"format": 2, "cell": "x"}'])
def test_a_damaged_result_says_what_to_do(file: Path, tmp_path: Path, content: str) -> None:
    _, cells = load_experiment(file)
    result_path(tmp_path, cells[0].name).write_text(content)
    with pytest.raises(DatasetError, match="no readable result .*; remove the file to run the cell again"):
        load_result(tmp_path, cells[0])


def test_a_result_of_another_manifest_is_refused(file: Path, tmp_path: Path, manifest: Path) -> None:
    _, cells = load_experiment(file)
    save_result(tmp_path, result_of(cells[0]))
    save_split(make_split(NAMES, 0.2, 1, "kitti:train"), manifest)  # the same path
    advice = "kitti-0.2-seed0.json changed since .*; remove the file and the run's folder .runs/partial-baseline-all-"
    with pytest.raises(DatasetError, match=advice):
        load_result(tmp_path, cells[0])
    save_split(make_split(NAMES, 0.2, 0, "kitti:train"), manifest)
    assert load_result(tmp_path, cells[0]) is not None


def test_a_result_of_another_parent_is_refused(file: Path, tmp_path: Path) -> None:
    _, cells = load_experiment(file)
    parent, child = result_of(cells[0]), result_of(cells[2], "here", WEIGHTS)
    save_result(tmp_path, parent)
    save_result(tmp_path, child)
    assert load_result(tmp_path, cells[2]) == child
    save_result(tmp_path, replace(parent, model_sha256="2" * 64))
    with pytest.raises(DatasetError, match="the checkpoint of baseline, all, seed 1 changed since"):
        load_result(tmp_path, cells[2])
    result_path(tmp_path, cells[0].name).unlink()  # not finished here: nothing to compare with
    assert load_result(tmp_path, cells[2]) == child


def test_hashes_are_of_the_manifests_that_the_run_names(file: Path, manifest: Path) -> None:
    _, cells = load_experiment(file)
    assert manifest_hashes(cells[0].run()) == {str(manifest): make_split(NAMES, 0.2, 0, "kitti:train").sha256}
    manifest.unlink()
    with pytest.raises(DatasetError, match="no such manifest; make it with\n  upcycle splits make --dataset kitti:tr"):
        manifest_hashes(cells[0].run())


def test_a_metric_that_no_evaluation_gives_is_said_with_those_it_gives(file: Path) -> None:
    config, cells = load_experiment(file)
    require_metrics(result_of(cells[0]), config)
    found = result_of(cells[0], found="ap_all/strict/truck/3d/moderate")
    with pytest.raises(ConfigError, match=f"no number {METRIC}; known: ap_all/strict/truck/3d/moderate. Correct"):
        require_metrics(found, config)
