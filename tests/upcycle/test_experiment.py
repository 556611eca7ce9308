from __future__ import annotations

import fcntl
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from shared_models.errors import ConfigError, DatasetError, InvalidValueError, TrainingDivergedError
from tests.small_runs import write_frames, write_run_file
from upcycle import training_session
from upcycle.experiment import app

METRIC = "ap_all/loose/car/bev/easy"
SAME = "data.evaluates_on_labelled=true"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    root = write_frames(tmp_path / "kitti")
    evaluation = f"data.evaluation={{dataset='kitti', root='{root}', split='all', frames=1}}"
    write_run_file(tmp_path / "base.json", root, "loop.steps=1", "loop.threads=1", evaluation, SAME)
    path = tmp_path / "experiment.toml"
    path.write_text(
        f'name = "grid"\nbase = "base.json"\nseeds = [1, 2]\nmetrics = ["{METRIC}"]\n'
        '[[methods]]\nname = "first"\n'
        '[[methods]]\nname = "second"\nstarts_from = "first"\nchange.loop.steps = 2\n'
    )
    return path


def run(*words: object):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def trained(monkeypatch) -> list[str]:
    """Names of the runs that were trained."""
    names: list[str] = []
    real = training_session.train

    def counted(config, *others, **named):
        names.append(f"{config.name} {config.seed}")
        return real(config, *others, **named)

    monkeypatch.setattr(training_session, "train", counted)
    return names


def results(data: Path) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted((data / "experiments" / "grid").glob("*.json"))]


def test_a_grid_is_filled_and_finished_cells_are_not_run_again(file: Path, tmp_path: Path, trained) -> None:
    data = tmp_path / "data"
    result = run("run", file, "--data", data)
    assert result.exit_code == 0, result.output
    assert trained == ["grid-first-all 1", "grid-first-all 2", "grid-second-all 1", "grid-second-all 2"]
    assert "grid: 4 of 4 cells" in result.stdout
    found = {(each["method"], each["seed"]): each for each in results(data)}
    assert len(found) == 4
    for (method, seed), each in found.items():
        assert METRIC in each["numbers"]
        assert Path(each["checkpoint"]).is_dir()
        assert each["run_file"]["seed"] == seed
        parent = found["first", seed]["checkpoint"] if method == "second" else ""
        assert each["run_file"]["detector"]["checkpoint"] == parent
        assert each["parent_sha256"] == (found["first", seed]["model_sha256"] if method == "second" else "")
    assert len({each["model_sha256"] for each in found.values()}) == 4
    again = run("run", file, "--data", data)
    assert len(trained) == 4
    assert again.stdout.count("training") == 0
    assert run("show", file, "--data", data).stdout.splitlines() == again.stdout.splitlines()


def test_differences_and_a_picture_on_demand(file: Path, tmp_path: Path, trained) -> None:
    data, picture = tmp_path / "data", tmp_path / "new/grid.png"
    assert isinstance(run("show", file, "--data", data, "--picture", picture).exception, ConfigError)
    run("run", file, "--data", data)
    shown = run("show", file, "--data", data, "--against", "first", "--picture", picture).stdout
    assert "difference from first" in shown
    assert "wrote" in shown
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert isinstance(run("show", file, "--data", data, "--against", "third").exception, InvalidValueError)


def test_names_of_metrics_for_people() -> None:
    from upcycle.experiment_picture import metric_name

    assert metric_name("ap_all/strict/car/3d/moderate") == "car, 3D, strict overlap, moderate"
    assert metric_name("ap_all/loose/cyclist/bev/all") == "cyclist, from above, loose overlap, all"
    assert metric_name("waymo/level_1/car/aph") == "waymo/level_1/car/aph"


def test_a_grid_that_was_stopped_goes_on_where_it_was(file: Path, tmp_path: Path, trained, monkeypatch) -> None:
    data, counted = tmp_path / "data", training_session.train

    def stopping(config, *others, **named):
        if len(trained) == 1:
            raise KeyboardInterrupt
        return counted(config, *others, **named)

    with monkeypatch.context() as patch:
        patch.setattr(training_session, "train", stopping)
        assert run("run", file, "--data", data).exit_code != 0
    assert "grid: 1 of 4 cells" in run("show", file, "--data", data).stdout
    assert run("run", file, "--data", data).exit_code == 0
    assert trained == ["grid-first-all 1", "grid-first-all 2", "grid-second-all 1", "grid-second-all 2"]


def test_shares_of_several_machines_have_all_cells_and_keep_children_with_parents(file, tmp_path, trained) -> None:
    assert run("run", file, "--data", tmp_path / "a", "--share", "2/2").exit_code == 0
    assert trained == ["grid-first-all 2", "grid-second-all 2"]
    assert run("run", file, "--data", tmp_path / "b", "--share", "1/2").exit_code == 0
    assert trained[2:] == ["grid-first-all 1", "grid-second-all 1"]
    for path in (tmp_path / "b/experiments/grid").glob("*.json"):  # brought together
        (tmp_path / "a/experiments/grid" / path.name).write_bytes(path.read_bytes())
    assert "grid: 4 of 4 cells" in run("show", file, "--data", tmp_path / "a").stdout
    for share in ("3/2", "0/2", "a/b", "2"):
        assert isinstance(run("run", file, "--data", tmp_path / "a", "--share", share).exception, ConfigError)


def test_a_cell_that_another_process_works_on_is_left_to_it(file: Path, tmp_path: Path, trained) -> None:
    from server.training.cell_results import result_path

    folder = tmp_path / "data/experiments/grid"
    folder.mkdir(parents=True)
    with result_path(folder, "first, all, seed 1").with_suffix(".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        result = run("run", file, "--data", tmp_path / "data")
    assert result.exit_code == 1
    assert "2 of 4 cells are left unfilled" in result.stdout
    assert "first, all, seed 1: another process is working on it" in result.stdout
    assert "second, all, seed 1: waits for first, all, seed 1" in result.stdout
    assert trained == ["grid-first-all 2", "grid-second-all 2"]


def test_a_cell_that_diverges_does_not_hold_up_the_others(file: Path, tmp_path: Path, trained, monkeypatch) -> None:
    counted = training_session.train

    def diverging(config, *others, **named):
        if config.seed == 1:
            raise TrainingDivergedError("the loss is not finite")
        return counted(config, *others, **named)

    monkeypatch.setattr(training_session, "train", diverging)
    result = run("run", file, "--data", tmp_path)
    assert result.exit_code == 1
    assert "first, all, seed 1: the loss is not finite" in result.output
    assert "grid: 2 of 4 cells" in result.stdout
    assert "2 of 4 cells are left unfilled" in result.stdout
    assert "first, all, seed 1: its training diverged" in result.stdout
    assert "second, all, seed 1: waits for first, all, seed 1" in result.stdout
    assert trained == ["grid-first-all 2", "grid-second-all 2"]


def test_what_another_process_finishes_meanwhile_is_gone_on_from(file, tmp_path: Path, trained, monkeypatch) -> None:
    """The other process has `first, all, seed 1` while the first round passes it, and is done before the second."""
    from server.training.cell_results import result_path

    assert run("run", file, "--data", tmp_path / "other", "--share", "1/2").exit_code == 0
    trained.clear()
    theirs = result_path(tmp_path / "other/experiments/grid", "first, all, seed 1")
    ours = result_path(tmp_path / "data/experiments/grid", "first, all, seed 1")
    ours.parent.mkdir(parents=True)
    counted = training_session.train
    with ours.with_suffix(".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)

        def training(config, *others, **named):
            if config.name == "grid-second-all" and config.seed == 2:
                ours.write_bytes(theirs.read_bytes())
                fcntl.flock(held, fcntl.LOCK_UN)
            return counted(config, *others, **named)

        monkeypatch.setattr(training_session, "train", training)
        result = run("run", file, "--data", tmp_path / "data")
    assert result.exit_code == 0, result.output
    assert trained == ["grid-first-all 2", "grid-second-all 2", "grid-second-all 1"]


def test_a_metric_that_is_not_there_stops_after_the_first_cell(file: Path, tmp_path: Path, trained) -> None:
    file.write_text(file.read_text().replace("loose/car", "loose/lorry"))
    result = run("run", file, "--data", tmp_path)
    assert isinstance(result.exception, ConfigError)
    assert "no number ap_all/loose/lorry/bev/easy; known: ap_all/loose/car/3d/" in str(result.exception)
    assert trained == ["grid-first-all 1"]
    file.write_text(file.read_text().replace("loose/lorry", "loose/car"))
    assert run("run", file, "--data", tmp_path, "--share", "1/2").exit_code == 0
    assert trained == ["grid-first-all 1", "grid-second-all 1"]  # the first one's result was kept


def test_weights_that_changed_since_the_parent_was_finished_are_not_gone_on_from(file, tmp_path: Path, trained) -> None:
    text = file.read_text()
    file.write_text(text[: text.index('[[methods]]\nname = "second"')])
    assert run("run", file, "--data", tmp_path, "--share", "1/2").exit_code == 0
    file.write_text(text)
    (result,) = (tmp_path / "experiments/grid").glob("*.json")
    content = json.loads(result.read_text())
    result.write_text(json.dumps({**content, "model_sha256": "0" * 64}))
    refused = run("run", file, "--data", tmp_path, "--share", "1/2").exception
    assert isinstance(refused, DatasetError)
    assert "not the weights of the finished cell first, all, seed 1 any more" in str(refused)
    assert trained == ["grid-first-all 1"]


def test_a_changed_experiment_does_not_mix_with_the_former_one(file: Path, tmp_path: Path, trained) -> None:
    run("run", file, "--data", tmp_path, "--share", "1/2")
    file.write_text(file.read_text().replace("steps = 2", "steps = 3"))
    result = run("run", file, "--data", tmp_path, "--share", "1/2")
    assert isinstance(result.exception, DatasetError)
    assert "other settings" in str(result.exception)


def test_several_processes_are_refused(file: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    result = run("run", file, "--data", tmp_path)
    assert isinstance(result.exception, ConfigError)
    assert "start it without torchrun" in str(result.exception)
