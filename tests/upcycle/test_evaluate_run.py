"""`upcycle evaluate --run FILE`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import upcycle.evaluate_run
from server.training.preparation import make_detector
from server.training.processes import Processes
from server.training.run_config import load_run
from server.training.run_folder import RunFolder
from server.training.source_config import SourceConfig
from shared_models.checkpoints import save
from shared_models.detectors.anchor_detector import AnchorDetector
from shared_models.errors import ConfigError, NotFoundError, UnknownNameError
from shared_models.records import SceneFeatures
from tests.small_runs import write_frames, write_run_file
from upcycle.evaluate import app
from upcycle.evaluate_run import output_name, title, trained_folder


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, Path]:
    """A run file with held-out frames, and a data folder in which the run has two checkpoints."""
    folder = tmp_path_factory.mktemp("evaluated")
    root = write_frames(folder / "kitti", 2)
    held_out = (f"data.evaluation.root={root}", "data.evaluation.dataset=kitti", "data.evaluation.split=val")
    file = write_run_file(folder / "run.json", root, *held_out, "data.evaluation.part=all")
    run = load_run(file)
    detector = make_detector(run.detector, 0)
    for step in (1, 2):
        save(detector, RunFolder.of(folder / "data", run).checkpoint(step), is_trained=False)
    return file, folder / "data"


def evaluate(made: tuple[Path, Path], *changes: str, options: tuple[str, ...] = ()):
    file, data = made
    dashes = [word for change in changes for word in ("--set", change)]
    return CliRunner().invoke(app, ["--run", str(file), "--data", str(data), *dashes, *options])


def folder_of(made: tuple[Path, Path]) -> RunFolder:
    file, data = made
    return RunFolder.of(data, load_run(file))


@pytest.fixture
def written(made: tuple[Path, Path]):
    """Names of the files in the run's folder of evaluations, empty before each test."""
    folder = folder_of(made).path / "evaluations"
    for old in folder.glob("*"):
        old.unlink()
    return lambda suffix: sorted(path.name for path in folder.glob(f"*{suffix}"))


def test_the_last_checkpoint_by_kittis_and_waymos_rules(made, written) -> None:
    pytest.importorskip("matplotlib")
    result = evaluate(made, 'evaluation.rules=["kitti", "waymo"]', 'evaluation.overlaps=["loose"]')
    assert result.exit_code == 0, result.output
    assert "overlaps: loose" in result.stdout
    assert "LEVEL_2" in result.stdout
    (name,) = written(".json")
    assert name.startswith("step-00000002-kitti-val-")
    (page,) = written(".html")
    folder = folder_of(made)
    report = json.loads((folder.path / "evaluations" / name).read_text())
    assert report["run_id"] == folder.run_id  # the changed rules do not name another run
    assert report["checkpoint"] == str(folder.checkpoint(2))
    assert report.keys() >= {"loose", "waymo", "frames"}
    assert "strict" not in report
    assert report["waymo"]["car"]["level_1"]["objects"] == 2
    assert "LEVEL_1" in (folder.path / "evaluations" / page).read_text()


def test_other_frames_of_the_same_run_do_not_overwrite(made, written) -> None:
    pytest.importorskip("matplotlib")
    for changes in ((), ("data.evaluation.split=train",), ("data.evaluation.frames=1",)):
        result = evaluate(made, *changes)
        assert result.exit_code == 0, result.output
    names = written(".json")
    assert len(names) == len(written(".html")) == 3
    assert sum("-kitti-val-" in name for name in names) == 2
    assert sum("-kitti-train-" in name for name in names) == 1


def test_behind_a_guard_the_detector_sees_what_vehicles_send(made, written, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    seen: list[int] = []
    detect = AnchorDetector.detect

    def watched(self: AnchorDetector, features: SceneFeatures):
        seen.append(len(features.grid))
        return detect(self, features)

    monkeypatch.setattr(AnchorDetector, "detect", watched)
    for guard in ("none", "decoys,share=1.0"):
        assert evaluate(made, options=("--guard", guard)).exit_code == 0
    plain, guarded = seen[: len(seen) // 2], seen[len(seen) // 2 :]
    assert len(plain) == 2
    assert all(more > cells for cells, more in zip(plain, guarded, strict=True))
    reports = [json.loads((folder_of(made).path / "evaluations" / name).read_text()) for name in written(".json")]
    assert {report["guard"] for report in reports} == {"none", "decoys,share=1.0"}
    pages = [(folder_of(made).path / "evaluations" / name).read_text() for name in written(".html")]
    assert sum("behind the guard decoys" in page for page in pages) == 1
    assert isinstance(evaluate(made, options=("--guard", "walls")).exception, UnknownNameError)


def test_names_keep_their_dots_and_tell_data_apart(tmp_path: Path) -> None:
    source = SourceConfig(dataset="simulated,domain=usa,sensor=waymo", split="val", part="all")
    name = output_name(tmp_path / "second.pth", source)
    assert name.startswith("second.pth-simulated-domain=usa-sensor=waymo-val-")
    others = [
        output_name(tmp_path / "other" / "second.pth", source),
        output_name(tmp_path / "second.pth", SourceConfig(dataset=source.dataset, split="train", part="all")),
        output_name(tmp_path / "second.pth", SourceConfig(dataset="kitti", split="val", part="all")),
        output_name(tmp_path / "second.pth", SourceConfig(dataset="kitti", root="b", split="val", part="all")),
    ]
    assert len({name, *others}) == 5
    long = output_name(Path("c"), SourceConfig(dataset="simulated," + "x" * 500, split="../val", part="all"))
    assert len(long) < 150
    assert "/" not in long


def test_which_run_is_meant(made) -> None:
    file, data = made
    own = folder_of(made)
    for change in ("data.evaluation.split=train", "evaluation.overlaps=['loose']", "loop.device=cpu"):
        assert trained_folder(file, [change], data) == own
    other = RunFolder.of(data, load_run(file, ["seed=9"]))
    assert trained_folder(file, ["seed=9", "data.evaluation.split=train"], data) == other != own
    result = evaluate(made, "seed=9")
    assert isinstance(result.exception, NotFoundError)  # not the checkpoint of another seed
    assert other.run_id in str(result.exception)


def test_a_run_trained_with_these_very_changes_comes_first(made) -> None:
    file, data = made
    changes = ["data.evaluation.frames=1", "data.evaluation.in_memory=3"]
    trained = RunFolder.of(data, load_run(file, changes))
    assert trained_folder(file, changes, data) == folder_of(made)
    trained.checkpoint(1).mkdir(parents=True)
    assert trained_folder(file, changes, data) == trained


def test_device_and_engine_are_the_run_files(made, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def choose(wanted: str, processes: Processes) -> torch.device:
        asked.append((wanted, processes))
        return torch.device("meta")

    def open_it(path: Path, device: torch.device, *, engine: object) -> None:
        asked.extend((device, type(engine).__name__))
        raise ConfigError("enough seen")

    monkeypatch.setattr(upcycle.evaluate_run, "choose_device", choose)
    monkeypatch.setattr(upcycle.evaluate_run, "open_checkpoint", open_it)
    evaluate(made, "loop.device=auto", "detector.engine=rulebook")
    assert asked == [("auto", Processes()), torch.device("meta"), "RulebookEngine"]
    assert isinstance(evaluate(made, "detector.engine=abacus").exception, UnknownNameError)


def test_simulated_data_are_called_so(made) -> None:
    class Opened:
        def __init__(self, dataset: str) -> None:
            self.config, self.frame_ids = SourceConfig(dataset=dataset, part="all"), ("1", "2")

    run = load_run(made[0])
    assert "2 SIMULATED scans of simulated,seed=3" in title(run, Opened("simulated,seed=3"), Path("c"))
    assert "2 scans of kitti" in title(run, Opened("kitti"), Path("c"))
