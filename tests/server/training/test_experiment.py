from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from server.training.experiment import (
    Cell,
    CellResult,
    ExperimentConfig,
    Variant,
    closed_gaps,
    estimate,
    load_experiment,
    load_result,
    result_path,
    save_result,
    summary,
)
from server.training.run_config import run_text
from server.training.run_folder import run_id_of
from shared_models.configuration import to_dict
from shared_models.errors import ConfigError, DatasetError, InvalidValueError, UnknownNameError

BASE = """
name = "base"
[detector]
setting = "tiny"
override.bev.layer_counts = [1, 1]
[data.labelled]
dataset = "kitti"
root = "somewhere"
[loop]
steps = 5
"""
TEXT = """
name = "partial"
base = "base.toml"
seeds = [1, 2]
metrics = ["a", "b"]
[[methods]]
name = "baseline"
[[methods]]
name = "longer"
starts_from = "baseline"
change.loop.steps = 9
[[splits]]
name = "10 %"
change.data.labelled.frames = 10
[[splits]]
name = "20 %"
change.data.labelled.frames = 20
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "base.toml").write_text(BASE)
    path = tmp_path / "experiment.toml"
    path.write_text(TEXT)
    return path


def result_of(cell: Cell, checkpoint: str = "", **numbers: float) -> CellResult:
    run = cell.run(checkpoint)
    return CellResult(
        cell=cell.name, method=cell.method, split=cell.split, seed=cell.seed, run_id=run_id_of(run),
        run_file=to_dict(run), run_file_sha256="0" * 64, checkpoint="c", model_sha256="1" * 64, seconds=1.5,
        numbers=numbers,
    )  # fmt: skip


def test_cells_are_all_combinations_with_parents_first(file: Path) -> None:
    config, cells = load_experiment(file)
    assert config.metrics == ("a", "b")
    assert [cell.name for cell in cells] == [
        f"{method}, {split}, seed {seed}"
        for method in ("baseline", "longer") for split in ("10 %", "20 %") for seed in (1, 2)
    ]  # fmt: skip
    assert [cell.parent for cell in cells[:4]] == [""] * 4
    assert [cell.parent for cell in cells[4:]] == [cell.name for cell in cells[:4]]


def test_a_cell_is_a_complete_run_with_all_changes(file: Path) -> None:
    _, cells = load_experiment(file)
    run = cells[0].run()
    assert (run.seed, run.loop.steps, run.data.labelled.frames, run.data.labelled.root) == (1, 5, 10, "somewhere")
    assert run.detector.override == {"bev": {"layer_counts": [1, 1]}}
    last = cells[-1].run("folder/of/parent")
    assert (last.seed, last.loop.steps, last.data.labelled.frames) == (2, 9, 20)
    # The checkpoint brings the configuration that the parent was overridden to.
    assert (last.detector.checkpoint, last.detector.override) == ("folder/of/parent", {})
    assert len({run_id_of(cell.run()) for cell in cells}) == 8


@pytest.mark.parametrize(
    ("old", "new", "error", "message"),
    [
        ('name = "partial"', 'name = "partial"\nspeed = 1', ConfigError, "speed: unknown key; known here: name, base"),
        ("change.loop.steps = 9", "change.loop.stepz = 9", ConfigError, "cell longer, 10 %, seed 1: loop.stepz"),
        ("change.loop.steps = 9", 'change.recipe = "magic"', UnknownNameError, "unknown recipe 'magic'"),
        ('starts_from = "baseline"', 'starts_from = "later"', ConfigError, "longer starts from 'later', which is none"),
        ('name = "longer"', 'name = "baseline"', ConfigError, "methods"),
        ("seeds = [1, 2]", "seeds = [1, 1]", ConfigError, "seeds: expected different numbers"),
        ("seeds = [1, 2]", "seeds = []", ConfigError, "seeds: expected different numbers"),
        ("base.toml", "absent.toml", ConfigError, "absent.toml: cannot be read"),
    ],
)  # fmt: skip
def test_mistakes_show_before_the_first_step(file: Path, old: str, new: str, error, message: str) -> None:
    file.write_text(TEXT.replace(old, new, 1))
    with pytest.raises(error, match=message):
        load_experiment(file)


def test_a_result_comes_back(file: Path, tmp_path: Path) -> None:
    _, cells = load_experiment(file)
    for cell in cells:
        assert load_result(tmp_path, cell) is None
        result = result_of(cell, "here" if cell.parent else "", a=1.5)
        save_result(tmp_path, result)
        assert load_result(tmp_path, cell) == result
    paths = [result_path(tmp_path, cell.name) for cell in cells]
    assert len(set(paths)) == len(cells)
    assert all(path.is_file() and path.parent == tmp_path for path in paths)
    assert result_path(tmp_path, "10 %, seed 1") != result_path(tmp_path, "10 /, seed 1")


def test_a_result_of_other_settings_is_not_taken_for_the_cell(file: Path, tmp_path: Path) -> None:
    _, cells = load_experiment(file)
    save_result(tmp_path, result_of(cells[0]))
    save_result(tmp_path, result_of(cells[4], "here"))
    file.write_text(TEXT.replace("steps = 9", "steps = 10"))
    _, changed = load_experiment(file)
    assert run_text(changed[0].run()) == run_text(cells[0].run())
    assert load_result(tmp_path, changed[0]) is not None
    with pytest.raises(DatasetError, match="this cell was run with other settings"):
        load_result(tmp_path, changed[4])


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 2}', '{"format": 1, "cell": "x"}'])
def test_a_damaged_result_says_what_to_do(file: Path, tmp_path: Path, content: str) -> None:
    _, cells = load_experiment(file)
    result_path(tmp_path, cells[0].name).write_text(content)
    with pytest.raises(DatasetError, match="no readable result .*; remove the file to run the cell again"):
        load_result(tmp_path, cells[0])


def test_mean_and_interval_by_hand() -> None:
    """Values 1, 2, 6: mean 3, deviation sqrt(7), t(0.975, 2 degrees) = 4.302653 from a printed table."""
    found = estimate([1.0, 2.0, 6.0], 0.95)
    assert (found.mean, found.count) == (3.0, 3)
    assert found.half_width == pytest.approx(4.302653 * math.sqrt(7) / math.sqrt(3), rel=1e-6)
    assert str(found) == "3.00 ± 6.57 (3)"
    alone = estimate([2.5], 0.95)
    assert math.isnan(alone.half_width)
    assert str(alone) == "2.50 (1)"
    # t(0.95, 1 degree) = 6.313752
    assert estimate([0.0, 2.0], 0.9).half_width == pytest.approx(6.313752, rel=1e-6)


def test_the_table_has_a_mean_over_splits_and_seeds_for_each_method(file: Path) -> None:
    config, cells = load_experiment(file)
    results = [result_of(cell, a=float(number)) for number, cell in enumerate(cells[:6])]
    found = summary(results, config)
    assert found["baseline"]["a"].mean == 1.5
    assert (found["longer"]["a"].mean, found["longer"]["a"].count) == (4.5, 2)
    assert "b" not in found["baseline"]
    assert summary(results[:4], config).keys() == {"baseline"}


def test_variants_are_named() -> None:
    with pytest.raises(InvalidValueError, match="Variant.name"):
        Variant(name="")
    with pytest.raises(InvalidValueError, match="confidence"):
        ExperimentConfig(name="a", base="b", confidence=95)


def test_the_closed_gap_of_the_papers_table() -> None:
    """UpCycling's supplement, Table 8, 3D: 10.16 at the source, 82.02 of the oracle, 67.65 closes 80.00 %."""
    config = ExperimentConfig(
        name="x",
        base="x.toml",
        metrics=("ap",),
        gap_from="source",
        gap_to="oracle",
        methods=tuple(Variant(name=name) for name in ("source", "upcycling", "oracle")),
    )

    def cell(method: str, value: float, seed: int = 0) -> CellResult:
        return CellResult(
            cell=f"{method} {seed}", method=method, split="all", seed=seed, run_id="r", run_file={},
            run_file_sha256="0" * 64, checkpoint="c", model_sha256="0" * 64, seconds=1.0, numbers={"ap": value},
        )  # fmt: skip

    results = [cell("source", 10.16), cell("upcycling", 67.65), cell("oracle", 82.02), cell("upcycling", 50.0, seed=1)]
    gaps = closed_gaps(results, config)
    assert gaps["upcycling"]["ap"].mean == pytest.approx(80.0, abs=0.01)
    assert gaps["upcycling"]["ap"].count == 1  # the other seed has no references
    assert (gaps["source"]["ap"].mean, gaps["oracle"]["ap"].mean) == (0.0, 100.0)
    assert closed_gaps(results, replace(config, gap_from="")) == {}
    with pytest.raises(InvalidValueError, match="gap_to"):
        replace(config, gap_to="else")
