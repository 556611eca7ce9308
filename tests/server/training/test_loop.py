from __future__ import annotations

import errno
import os
import signal
from pathlib import Path

import pytest
import torch

from server.repositories.memory_run_log import MemoryRunLog
from server.training import stopping
from server.training.journal import Journal
from server.training.processes import Processes
from server.training.run_folder import RunFolder
from server.training.saved_state import read_state
from shared_models import checkpoints
from shared_models.errors import CheckpointError, ConfigError, StorageFullError, TrainingDivergedError
from tests.run_records import make_run
from tests.small_runs import digest, make_loop, saved_tensors, small_run, train_small, write_frames


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return write_frames(tmp_path_factory.mktemp("frames") / "kitti")


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_run_that_is_stopped_and_resumed_is_bit_for_bit_the_same(root: Path, tmp_path: Path, precision: str) -> None:
    changes = (f"loop.precision={precision}", "loop.steps=5", "augmentation.order=['ground_truth_sampling', 'flip']")
    whole, expected = train_small(small_run(root, *changes), tmp_path / "whole")
    assert (whole.state, whole.step) == ("finished", 5)
    for last in (1, 3):
        outcome, _ = train_small(small_run(root, *changes, f"loop.stop_after={last}"), tmp_path / "parts")
        assert (outcome.state, outcome.step, outcome.total_steps) == ("stopped", last, 5)
    outcome, found = train_small(small_run(root, *changes), tmp_path / "parts")
    assert (outcome.state, outcome.step) == ("finished", 5)
    names = {name.split("/")[1] for name in found}
    assert {"detector", "optimiser", "schedule", "step"} <= names
    assert digest(found) == digest(expected)


def test_other_seeds_and_precisions_are_other_runs(root: Path, tmp_path: Path) -> None:
    runs = [small_run(root, "loop.steps=1", change) for change in ("seed=1", "seed=2", "loop.precision='bfloat16'")]
    assert len({digest(train_small(run, tmp_path)[1]) for run in runs}) == 3


def test_training_learns(root: Path, tmp_path: Path) -> None:
    losses: list[float] = []
    loop = make_loop(
        small_run(root, "loop.steps=30", "augmentation.order=[]", "optimiser.learning_rate=0.01"), tmp_path
    )
    loop._progress = lambda step, total, numbers: losses.append(numbers["loss/total"])
    before = {name: value.clone() for name, value in loop._recipe.setup.detector.named_parameters()}
    loop.run()
    assert sum(losses[-4:]) < 0.6 * sum(losses[:4])
    after = dict(loop._recipe.setup.detector.named_parameters())
    assert not [name for name in before if torch.equal(before[name], after[name])]


def test_a_finished_run_has_a_checkpoint_of_its_last_weights(root: Path, tmp_path: Path) -> None:
    run = small_run(root, "loop.steps=3", "loop.checkpoint_every=1")
    _, state = train_small(run, tmp_path)
    folder = RunFolder.of(tmp_path, run)
    assert [path.name for path in folder.checkpoints()] == [f"step-0000000{n}" for n in (1, 2, 3)]
    detector = checkpoints.open_checkpoint(folder.checkpoint(3))
    for name, value in detector.state_dict().items():
        assert torch.equal(value, state[f"/detector/{name}"]), name
    assert checkpoints.read_manifest(folder.checkpoint(3)).is_trained
    outcome, again = train_small(run, tmp_path)  # nothing is left to do
    assert (outcome.state, outcome.step) == ("finished", 3)
    assert digest(again) == digest(state)


def test_an_evaluation_does_not_disturb_training(root: Path, tmp_path: Path) -> None:
    changes = ("loop.steps=4", "loop.evaluate_every=2")
    _, expected = train_small(small_run(root, *changes), tmp_path / "without")
    seen = []

    def evaluate(detector, step):
        torch.rand(100)
        seen.append((step, detector.training))
        return {"frames": 1}, {"ap": float(step)}

    run, run_log = small_run(root, *changes), MemoryRunLog()
    journal = Journal(tmp_path / "board", run_log, make_run())
    make_loop(run, tmp_path / "with", evaluate, journal).run()
    journal.close()
    assert seen == [(2, False), (4, False)]
    assert digest(saved_tensors(RunFolder.of(tmp_path / "with", run).state)) == digest(expected)
    assert [record.step for record in run_log.evaluations("run-1")] == [2, 4]
    assert [(s.step, s.value) for s in run_log.scalars("run-1", names=["ap"])] == [(2, 2.0), (4, 4.0)]


def test_what_is_logged(root: Path, tmp_path: Path) -> None:
    run_log = MemoryRunLog()
    journal = Journal(tmp_path / "board", run_log, make_run())
    make_loop(small_run(root, "loop.steps=5", "loop.log_every=2"), tmp_path, journal=journal).run()
    journal.close()
    scalars = run_log.scalars("run-1")
    assert {s.step for s in scalars} == {1, 2, 4, 5}
    names = {s.name for s in scalars}
    assert names == {
        "loss/classification", "loss/box", "loss/direction", "loss/roi_iou", "loss/total",
        "matched/positive_anchors", "matched/rois", "matched/foreground_rois",
        "train/learning_rate", "train/gradient_norm", "train/step_s", "train/waited_s",
    }  # fmt: skip
    first = {s.name: s.value for s in scalars if s.step == 1}
    parts = [first[f"loss/{name}"] for name in ("classification", "box", "direction", "roi_iou")]
    assert first["loss/total"] == pytest.approx(sum(parts), rel=1e-5)
    assert first["matched/positive_anchors"] >= 6  # three objects in each of two scenes
    assert first["train/learning_rate"] == pytest.approx(0.0003)


@pytest.mark.parametrize(
    "frames",
    [
        {"unlabelled": (0, 1)},
        {"empty": (0, 1)},
        {"empty": (0,), "unlabelled": (1,)},
        {"classes": ("Pedestrian",)},
        {"classes": ()},
    ],
    ids=["no labels", "no points", "one of each", "one class", "nothing at all"],
)
@pytest.mark.parametrize("name", ["second_iou", "pv_rcnn"])
def test_scarce_data_train_without_nan(tmp_path: Path, frames, name: str) -> None:
    root = write_frames(tmp_path / "kitti", 2, **frames)
    changes = ["loop.steps=2", f"detector.name={name}", "data.labelled.min_points=0"]
    if name == "pv_rcnn":
        changes += ["detector.override.points.keypoint_count=64", "detector.override.roi.grid_size=3"]
    _, state = train_small(small_run(root, *changes), tmp_path / "data")
    assert all(bool(torch.isfinite(value).all()) for value in state.values())


def test_a_loss_that_is_not_finite_ends_the_run(root: Path, tmp_path: Path, monkeypatch) -> None:
    run = small_run(root, "loop.steps=6", "loop.checkpoint_every=2", "loop.save_every=1")
    loop = make_loop(run, tmp_path)
    compose = loop._recipe.compose

    def poisoned(prepared):
        if prepared.step == 3:
            with torch.no_grad():
                loop._recipe.setup.detector.dense_head.conv_box.bias[0] = float("nan")
        return compose(prepared)

    monkeypatch.setattr(loop._recipe, "compose", poisoned)
    with pytest.raises(TrainingDivergedError) as caught:
        loop.run()
    said = str(caught.value)
    assert f"run {RunFolder.of(tmp_path, run).run_id}: the loss or its gradient is not finite at step 4" in said
    assert "box nan" in said
    names = [frame.frame_id for frame in loop._recipe.setup.labelled]
    assert sum(name in said for name in names) == 2
    good = RunFolder.of(tmp_path, run).state / "step-00000003.pt"  # newer than the checkpoint of step 2
    assert f"last good checkpoint: {good};" in said
    assert read_state(good)["step"] == 3
    # The state after step 3 is sound, and the run goes on from it.
    outcome, state = train_small(run, tmp_path)
    assert outcome.state == "finished"
    assert digest(state) == digest(train_small(run, tmp_path / "whole")[1])


def test_a_gradient_that_is_not_finite_ends_the_run_too(root: Path, tmp_path: Path) -> None:
    run = small_run(root, "loop.steps=3")
    loop = make_loop(run, tmp_path)
    before = {name: value.clone() for name, value in loop._recipe.setup.detector.named_parameters()}
    loop._recipe.setup.detector.dense_head.conv_box.bias.register_hook(lambda gradient: gradient / 0)
    with pytest.raises(TrainingDivergedError, match="at step 1 .*last good checkpoint: none was made yet"):
        loop.run()
    assert all(torch.equal(before[name], value) for name, value in loop._recipe.setup.detector.named_parameters())


def test_a_run_that_diverges_at_once_names_the_checkpoint_it_started_from(root: Path, tmp_path: Path) -> None:
    first = small_run(root, "loop.steps=1")
    train_small(first, tmp_path)
    start = RunFolder.of(tmp_path, first).checkpoint(1)
    run = small_run(root, "loop.steps=3", f"detector.checkpoint={start}", "detector.override={}")
    loop = make_loop(run, tmp_path)
    loop._recipe.setup.detector.dense_head.conv_box.bias.register_hook(lambda gradient: gradient / 0)
    with pytest.raises(TrainingDivergedError, match=f"at step 1 .*last good checkpoint: {start};"):
        loop.run()


def test_processes_that_found_different_states_do_not_train(root: Path, tmp_path: Path, monkeypatch) -> None:
    loop = make_loop(small_run(root, "loop.steps=2"), tmp_path)
    loop._processes = Processes(rank=0, count=2)
    others = iter([lambda own: own, lambda own: (own[0] + 1, own[1]), lambda own: (own[0], "0" * 64)])
    monkeypatch.setattr(Processes, "gathered", lambda _, own: (own, next(others)(own)))
    loop.resume()
    for said in ("step 0, [0-9a-f]{12}; process 1: step 1, ", "step 0, [0-9a-f]{12}; process 1: step 0, 0000"):
        with pytest.raises(ConfigError, match=rf"different weights \(process 0: {said}.* one shared folder as --data"):
            loop.resume()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_run_after_the_step_and_it_goes_on_later(root: Path, tmp_path: Path, number) -> None:
    run = small_run(root, "loop.steps=5")
    loop, before = make_loop(run, tmp_path), signal.getsignal(number)
    loop._progress = lambda step, total, numbers: os.kill(os.getpid(), number) if step == 2 else None
    outcome = loop.run()
    # The handlers of before are there again.
    assert signal.getsignal(number) is before
    assert (outcome.state, outcome.step) in {("stopped", 2), ("stopped", 3)}
    outcome, state = train_small(run, tmp_path)
    assert outcome.state == "finished"
    assert digest(state) == digest(train_small(run, tmp_path / "whole")[1])


def test_a_second_signal_ends_the_run_at_once(root: Path, tmp_path: Path) -> None:
    loop = make_loop(small_run(root, "loop.steps=5"), tmp_path)

    def twice(step, total, numbers) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)

    loop._progress = twice
    with pytest.raises(KeyboardInterrupt):
        loop.run()
    assert loop.step == 1


@pytest.mark.parametrize("place", ["state", "checkpoint"])
def test_a_full_disk_leaves_the_former_state_and_the_run_goes_on_later(root, tmp_path, monkeypatch, place) -> None:
    run = small_run(root, "loop.steps=4", "loop.save_every=1", "loop.checkpoint_every=3")
    folder = RunFolder.of(tmp_path, run)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    loop = make_loop(run, tmp_path)

    def fill(step, total, numbers) -> None:
        if step == 3 and place == "state":
            monkeypatch.setattr(Path, "write_bytes", full)
        elif step == 3:
            monkeypatch.setattr(os, "fsync", full)

    loop._progress = fill
    with pytest.raises(StorageFullError, match=r"(?i)no space left"):
        loop.run()
    monkeypatch.undo()
    assert sorted(path.name for path in folder.state.glob("step-*")) == ["step-00000001.pt", "step-00000002.pt"]
    resumed = make_loop(run, tmp_path)
    assert resumed.step == 2
    assert resumed.run().state == "finished"
    assert digest(saved_tensors(folder.state)) == digest(train_small(run, tmp_path / "whole")[1])


def test_a_damaged_state_falls_back_to_the_one_before(root: Path, tmp_path: Path) -> None:
    run = small_run(root, "loop.steps=4", "loop.save_every=1")
    _, expected = train_small(run, tmp_path)
    folder = RunFolder.of(tmp_path, run)
    last = folder.state / "step-00000004.pt"
    last.write_bytes(last.read_bytes()[:5000])
    assert make_loop(run, tmp_path).step == 3
    _, found = train_small(run, tmp_path)
    assert digest(found) == digest(expected)
    for path in folder.state.iterdir():
        path.write_bytes(b"")
    with pytest.raises(CheckpointError, match="begin anew with --fresh"):
        make_loop(run, tmp_path)


def test_a_run_goes_on_with_other_keys_that_change_no_weight(root: Path, tmp_path: Path) -> None:
    _, expected = train_small(small_run(root, "loop.steps=4"), tmp_path / "whole")
    train_small(small_run(root, "loop.steps=4", "loop.stop_after=2"), tmp_path / "parts")
    others = ("save_every=1", "log_every=3", "checkpoint_every=1", "workers=2", "steps_ahead=3")
    loop = make_loop(small_run(root, "loop.steps=4", *(f"loop.{other}" for other in others)), tmp_path / "parts")
    assert loop.step == 2
    loop.run()
    assert digest(saved_tensors(loop._folder.state)) == digest(expected)


def test_a_state_of_another_length_is_refused(root: Path, tmp_path: Path) -> None:
    """The same run file over a folder that has got more frames since."""
    more = write_frames(tmp_path / "kitti", 4)
    run = small_run(more, "loop.steps=0", "loop.epochs=2", "loop.stop_after=1")
    train_small(run, tmp_path / "data")
    write_frames(more, 8)
    with pytest.raises(ConfigError, match="its saved state is of 4 steps, the run file asks for 8; begin anew with"):
        make_loop(run, tmp_path / "data")


def test_a_thread_that_may_not_set_signal_handlers_can_train(root: Path, tmp_path: Path, monkeypatch) -> None:
    def refused(number, handler):
        raise ValueError("signal only works in main thread of the main interpreter")

    loop = make_loop(small_run(root, "loop.steps=1"), tmp_path)
    monkeypatch.setattr(stopping.signal, "signal", refused)
    assert loop.run().state == "finished"
