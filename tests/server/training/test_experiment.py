from __future__ import annotations

from pathlib import Path

import pytest

from server.training.experiment import ExperimentConfig, Variant, load_experiment
from server.training.run_folder import run_id_of
from shared_models.errors import ConfigError, InvalidValueError, UnknownNameError

BASE = """
name = "base"
[detector]
setting = "tiny"
override.bev.layer_counts = [1, 1]
[data.labelled]
dataset = "kitti"
root = "somewhere"
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
metrics = ["ap_all/strict/car/3d/moderate", "waymo/level_1/car/aph"]
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


def test_cells_are_all_combinations_with_parents_first(file: Path) -> None:
    config, cells = load_experiment(file)
    assert config.metrics == ("ap_all/strict/car/3d/moderate", "waymo/level_1/car/aph")
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
        ("strict/car", "strickt/car", ConfigError, "metrics: expected names as ap_all/strict/car/3d.*strickt"),
        ("strict/car", "strict/Car", ConfigError, "class in small letters"),
        ("level_1/car/aph", "level_3/car/aph", ConfigError, "waymo/level_1/car/aph, got .*level_3"),
        ("change.loop.steps = 9", 'change.evaluation.overlaps = ["loose"]', ConfigError,
         "cell longer, 10 %, seed 1: ap_all/strict/car/3d/moderate needs 'strict' in evaluation.overlaps"),
        ("change.loop.steps = 9", 'without = ["data.evaluation"]', ConfigError, "longer.*: data.evaluation is missing"),
        ("change.loop.steps = 9", 'without = ["data.unlabelled"]', ConfigError, "the base file has no data.unlabelled"),
        ("base.toml", "absent.toml", ConfigError, "absent.toml: cannot be read"),
    ],
)  # fmt: skip
def test_mistakes_show_before_the_first_step(file: Path, old: str, new: str, error, message: str) -> None:
    file.write_text(TEXT.replace(old, new, 1))
    with pytest.raises(error, match=message):
        load_experiment(file)


def test_variants_are_named() -> None:
    with pytest.raises(InvalidValueError, match="Variant.name"):
        Variant(name="")
    with pytest.raises(InvalidValueError, match="confidence"):
        ExperimentConfig(name="a", base="b", confidence=95)


def test_a_method_can_do_without_a_section_of_the_base(file: Path) -> None:
    base = file.parent / "base.toml"
    base.write_text(BASE + '[data.unlabelled]\ndataset = "kitti"\nroot = "more"\n')
    file.write_text(TEXT.replace("change.loop.steps = 9", 'without = ["data.unlabelled"]'))
    _, cells = load_experiment(file)
    runs = {cell.method: cell.run().data for cell in cells}
    assert runs["baseline"].unlabelled is not None
    assert runs["longer"].unlabelled is None
    assert runs["longer"].labelled == runs["baseline"].labelled
