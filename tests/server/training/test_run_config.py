from __future__ import annotations

import json
from pathlib import Path

import pytest

from server.training.run_config import (
    EvaluationSettings,
    RunConfig,
    changed,
    load_run,
    parse_run,
    run_text,
    whole_run_text,
)
from server.training.run_folder import RunFolder, run_id_of
from shared_models.errors import ConfigError, InvalidValueError, UnknownNameError

TEXT = """
name = "one"
seed = 3
[detector]
setting = "small"
override.bev.layer_counts = [1, 1]
[data.labelled]
dataset = "kitti"
root = "here"
renamed = { Van = "Car" }
[objective.rois]
count = 64
[settings]
repeat = 5
[loop]
epochs = 2
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "run.toml"
    path.write_text(TEXT)
    return path


def test_a_file_is_read_and_the_rest_has_defaults(file: Path) -> None:
    run = load_run(file)
    assert (run.name, run.seed, run.recipe, run.loop.epochs, run.loop.batch_size) == ("one", 3, "supervised", 2, 4)
    assert run.detector.override == {"bev": {"layer_counts": [1, 1]}}
    assert run.data.labelled.renamed == {"Van": "Car"}
    assert run.data.evaluation is None


def test_defaults_of_recipe_and_objective_are_written_out(file: Path) -> None:
    run = load_run(file)
    assert run.settings == {"repeat": 5, "database_min_points": 5, "freeze_vehicle_part": False}
    assert run.objective["rois"]["count"] == 64
    assert run.objective["rois"]["foreground_iou"] == 0.55
    assert run.objective["first_stage"]["box_weight"] == 2.0
    assert run.evaluation == EvaluationSettings(overlaps=("strict", "loose"))


def test_what_a_run_keeps_of_itself_is_the_same_run(file: Path, tmp_path: Path) -> None:
    run = load_run(file)
    kept = RunFolder.of(tmp_path, run)
    kept.write_run(run)
    again = load_run(kept.path / "run.json")
    assert again == run
    assert whole_run_text(again) == whole_run_text(run) == (kept.path / "run.json").read_text()
    assert run_text(again) == run_text(run)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("loop.epoch=3", r"run.toml: loop.epoch: unknown key; known here: batch_size, epochs, steps"),
        ("speed=3", r"speed: unknown key; known here: name, recipe, seed, detector"),
        ("settings.rate=3", r"settings.rate: unknown key; known here: repeat, database_min_points"),
        ("objective.rois.number=3", r"objective.rois.number: unknown key; known here: count, "),
        ("evaluation.overlap=[]", r"evaluation.overlap: unknown key; known here: overlaps"),
        ('evaluation.overlaps=["lax"]', r"evaluation.overlaps\[0\]: expected one of 'strict', 'loose', got 'lax'"),
        ("evaluation.overlaps=[]", "expected strict, loose or both"),
        ("loop.epochs=many", "loop.epochs: expected int, got 'many'"),
        ("loop.precision=float8", "LoopConfig.precision: expected one of auto, float32, bfloat16"),
        ("data.labelled.part=labelled", "SourceConfig.part: 'labelled' needs a manifest"),
        ("data.labelled.view=rear", "data.labelled.view: expected one of 'all', 'camera', got 'rear'"),
        ('augmentation.order=["blur"]', "unknown augmentation 'blur'; known: flip"),
        ("seed=-1", "RunConfig.seed"),
        ("name=a/b", "RunConfig.name"),
        ("loop", "--set loop: expected KEY=VALUE, for example loop.epochs=3"),
        ("name.first=a", "--set name.first=a: name is a value, not a table"),
    ],
)
def test_mistakes_name_file_key_and_what_is_known(file: Path, change: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load_run(file, [change])
    assert str(caught.value).startswith(str(file))


def test_unknown_recipes_and_detectors(file: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown recipe 'magic'; known: .*supervised"):
        load_run(file, ["recipe=magic"])
    with pytest.raises(UnknownNameError, match="unknown objective 'yolo'; known: pv_rcnn, second_iou"):
        load_run(file, ["detector.name=yolo"])


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent.toml: cannot be read \(No such file"):
        load_run(tmp_path / "absent.toml")
    (tmp_path / "a.toml").write_text("= 3")
    with pytest.raises(ConfigError, match="a.toml: not valid TOML"):
        load_run(tmp_path / "a.toml")
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(ConfigError, match="a.json: not valid JSON"):
        load_run(tmp_path / "a.json")
    (tmp_path / "a.json").write_text("[]")
    with pytest.raises(ConfigError, match=r"a.json: .*expected a table"):
        load_run(tmp_path / "a.json")


def test_changes_take_toml_values_or_text_and_leave_the_table_alone() -> None:
    table = {"a": {"b": 1}, "date": 1}
    given = ["a.b=2.5", "a.c=[1, 2]", "d.e=plain text", 'f="3"', "g=true", "h="]
    assert changed(table, given) == {
        "a": {"b": 2.5, "c": [1, 2]}, "date": 1, "d": {"e": "plain text"}, "f": "3", "g": True, "h": "",
    }  # fmt: skip
    assert table == {"a": {"b": 1}, "date": 1}


def test_equal_runs_have_equal_ids_and_others_do_not(file: Path) -> None:
    run = load_run(file)
    written_out = parse_run(json.loads(run_text(run)), "text")
    assert run_id_of(written_out) == run_id_of(run)
    assert run_id_of(load_run(file, ["settings.repeat=5"])) == run_id_of(run)
    assert run_id_of(run).startswith("one-")
    others = [
        "seed=4",
        "loop.epochs=3",
        "settings.repeat=6",
        "objective.rois.count=65",
        "evaluation.overlaps=['loose']",
    ]
    ids = {run_id_of(load_run(file, [change])) for change in others}
    assert len(ids) == len(others)
    assert run_id_of(run) not in ids


@pytest.mark.parametrize(
    "change",
    ["workers=3", "steps_ahead=7", "log_every=7", "save_every=7", "checkpoint_every=7", "evaluate_every=7"],
)
def test_what_changes_no_weight_does_not_make_another_run_but_is_kept(file: Path, tmp_path: Path, change: str) -> None:
    run, other = load_run(file), load_run(file, [f"loop.{change}"])
    assert run_text(other) == run_text(run)
    folder = RunFolder.of(tmp_path, other)
    assert folder.run_id == run_id_of(run)
    folder.write_run(other)
    assert load_run(folder.path / "run.json") == other != run


def test_where_a_call_ends_early_is_not_kept(file: Path) -> None:
    run, other = load_run(file), load_run(file, ["loop.stop_after=7"])
    assert run_text(other) == run_text(run)
    assert whole_run_text(other) == whole_run_text(run)


@pytest.mark.parametrize("change", ["threads=2", "device=cpu", "precision=float32", "batch_size=2", "steps=9"])
def test_what_changes_rounding_or_length_makes_another_run(file: Path, change: str) -> None:
    assert run_id_of(load_run(file, [f"loop.{change}"])) != run_id_of(load_run(file))


def test_an_empty_file_is_a_run() -> None:
    assert parse_run({}, "nothing").detector == RunConfig().detector
    with pytest.raises(InvalidValueError, match="EvaluationSettings.overlaps"):
        EvaluationSettings(overlaps=("strict", "strict"))
