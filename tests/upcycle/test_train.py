"""`upcycle train` as people start it: several processes, killed processes, full disks."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from server.repositories.archive import open_run_log
from server.training.losses.focal import focal_loss
from server.training.run_config import load_run
from server.training.run_folder import RunFolder
from shared_models.errors import StorageFullError, TrainingDivergedError
from tests.small_runs import NO_DROPOUT, digest, saved_tensors, train_small, write_frames, write_run_file
from upcycle.train import app

THREADS = "loop.threads=1"
TOGETHER = (*NO_DROPOUT, THREADS, "loop.steps=3")


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return write_frames(tmp_path_factory.mktemp("frames") / "kitti", 6, empty=(1,))


def train(file: Path, data: Path, *changes: str):
    options = [word for change in changes for word in ("--set", change)]
    return CliRunner().invoke(app, ["--run", str(file), "--data", str(data), *options])


def command(file: Path, data: Path, *dashes: str) -> list[str]:
    # Without the dashes torchrun takes --run for one of its own options (until Python 3.12).
    return ["-m", *dashes, "upcycle", "train", "--run", str(file), "--data", str(data)]


def environment(repository: Path) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(repository)}


def folder_of(file: Path, data: Path) -> RunFolder:
    return RunFolder.of(data, load_run(file))


def losses_of(data: Path) -> dict[tuple[int, str], float]:
    run_log = open_run_log(data)
    (record,) = run_log.runs()
    scalars = run_log.scalars(record.run_id)
    run_log.close()
    return {(s.step, s.name): s.value for s in scalars if not s.name.startswith("train/")}


def state_of(data: Path) -> tuple[str, int, str]:
    run_log = open_run_log(data)
    (record,) = run_log.runs()
    run_log.close()
    return record.state, record.step, record.message


def test_a_run_from_its_file_to_its_checkpoint(root: Path, tmp_path: Path) -> None:
    file = write_run_file(tmp_path / "run.json", root, THREADS, "loop.steps=2")
    result = train(file, tmp_path / "data")
    assert result.exit_code == 0, result.output
    folder = folder_of(file, tmp_path / "data")
    assert "cpu, float32, 1 thread; step 0 of 2" in result.stderr.splitlines()
    assert "step 2 of 2, loss " in result.stderr
    assert "finished at step 2 of 2 after " in result.stdout
    assert f"run {folder.run_id}: {folder.path}" in result.stdout
    assert state_of(tmp_path / "data") == ("finished", 2, "")
    assert {path.name for path in folder.path.iterdir()} == {"checkpoints", "run.json", "state", "tensorboard"}
    assert load_run(folder.path / "run.json") == load_run(file)
    again = train(file, tmp_path / "data", "loop.save_every=7")  # still the same run
    assert again.exit_code == 0, again.output
    assert "finished already, by a former call (--fresh begins anew), at step 2 of 2" in again.stdout
    assert again.stderr == ""
    shutil.rmtree(folder.checkpoint(2))
    assert "cpu, float32, 1 thread; step 2 of 2" in train(file, tmp_path / "data").stderr.splitlines()
    assert folder.checkpoint(2).is_dir()
    fresh = CliRunner().invoke(app, ["--run", str(file), "--data", str(tmp_path / "data"), "--fresh"])
    assert "cpu, float32, 1 thread; step 0 of 2" in fresh.stderr.splitlines()


def test_an_evaluation_is_kept_and_logged(root: Path, tmp_path: Path) -> None:
    evaluation = f"data.evaluation={{dataset='kitti', root='{root}', split='all', frames=2}}"
    overlaps, held = "evaluation.overlaps=['strict']", "data.evaluates_on_labelled=true"
    file = write_run_file(tmp_path / "run.json", root, THREADS, "loop.steps=1", evaluation, overlaps, held)
    result = train(file, tmp_path)
    assert result.exit_code == 0, result.output
    folder, numbers = folder_of(file, tmp_path), losses_of(tmp_path)
    assert folder.evaluation(1).is_file()
    assert any(name.startswith("ap_all/strict/car/3d/") for _, name in numbers)
    assert not any(name.startswith("ap_all/loose/") for _, name in numbers)
    assert "finished already" in train(file, tmp_path).stdout
    folder.evaluation(1).unlink()
    assert "finished at step 1 of 1" in train(file, tmp_path).stdout
    assert folder.evaluation(1).is_file()


def test_two_processes_learn_what_one_with_the_doubled_batch_does(root: Path, tmp_path: Path, repository: Path) -> None:
    """Each process has one scene of a step; one scan has no points, so that one process has nothing to convolve."""
    file = write_run_file(tmp_path / "run.json", root, *TOGETHER)
    assert train(file, tmp_path / "one").exit_code == 0
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    result = subprocess.run(
        [*words, *command(file, tmp_path / "two", "--")],
        cwd=repository, env=environment(repository), capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "cpu, float32, 1 thread, 2 processes; step 0 of 3" in result.stderr
    assert result.stdout.count("finished at step 3 of 3") == 1
    one, two = losses_of(tmp_path / "one"), losses_of(tmp_path / "two")
    assert one.keys() == two.keys()
    for (step, name), value in one.items():
        assert two[step, name] == pytest.approx(value, rel=1e-5 if step == 1 else 2e-3), (step, name)
    weights = [saved_tensors(folder_of(file, tmp_path / name).state) for name in ("one", "two")]
    assert weights[0].keys() == weights[1].keys()
    for name in (name for name in weights[0] if name.startswith("/detector/")):
        torch.testing.assert_close(weights[1][name], weights[0][name], rtol=1e-3, atol=2e-4, msg=name)


@pytest.mark.slow  # the parts are in test_loop.py and test_shared_norm.py
def test_machines_without_a_shared_folder_are_told_so(root: Path, tmp_path: Path, repository: Path) -> None:
    file = write_run_file(tmp_path / "run.json", root, *TOGETHER)
    assert train(file, tmp_path / "0", "loop.stop_after=1").exit_code == 0
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    processes = [
        subprocess.Popen(
            [sys.executable, *command(file, tmp_path / rank)],
            cwd=repository, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            env={**environment(repository), **address, "WORLD_SIZE": "2", "RANK": rank, "LOCAL_RANK": "0"},
        )
        for rank in "01"
    ]  # fmt: skip
    try:
        for process in processes:
            _, said = process.communicate(timeout=200)
            assert process.returncode not in (0, None)
            assert "(process 0: step 1, " in said
            assert "process 1: step 0, " in said
            assert "give all machines one shared folder as --data" in said
    finally:
        for process in processes:
            process.kill()
    assert last_step(folder_of(file, tmp_path / "0")) == 1


def test_a_command_that_cannot_begin_leaves_and_removes_nothing(root: Path, tmp_path: Path) -> None:
    data, wanted = tmp_path / "data", "data.labelled.frames=2"
    kept = write_frames(tmp_path / "kitti", 2)
    file = write_run_file(tmp_path / "run.json", kept, THREADS, "loop.steps=1", wanted)
    shutil.rmtree(kept)
    assert train(file, data).exception is not None
    assert not (data / "runs").exists()
    write_frames(kept, 2)
    assert train(file, data).exit_code == 0
    shutil.rmtree(kept)
    options = ["--run", str(file), "--data", str(data), "--fresh"]
    assert CliRunner().invoke(app, options).exception is not None
    assert folder_of(file, data).checkpoint(1).is_dir()


def test_the_run_log_has_the_file_that_gives_the_id(root: Path, tmp_path: Path) -> None:
    file = write_run_file(tmp_path / "run.json", root, THREADS, "loop.steps=3")
    assert train(file, tmp_path, "loop.stop_after=1", "loop.save_every=5").exit_code == 0
    result = train(file, tmp_path, "loop.save_every=1")
    assert "step 1 of 3" in result.stderr
    assert state_of(tmp_path) == ("finished", 3, "")
    run_log = open_run_log(tmp_path)
    (record,) = run_log.runs()
    run_log.close()
    assert record.run_id.endswith(record.run_file_sha256[:10])
    assert "save_every" not in record.run_file
    kept = load_run(Path(record.folder) / "run.json")
    assert (kept.loop.save_every, kept.loop.stop_after) == (1, 0)


def test_a_process_killed_at_a_random_step_goes_on_by_the_same_command(root: Path, tmp_path: Path, repository) -> None:
    file = write_run_file(tmp_path / "run.json", root, THREADS, "loop.steps=16", "loop.save_every=1")
    data, step = tmp_path / "data", random.Random(11).randrange(3, 9)
    folder = folder_of(file, data)
    process = subprocess.Popen(
        [sys.executable, *command(file, data)],
        cwd=repository, env=environment(repository), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        wait_until(lambda: process.poll() is not None or last_step(folder) >= step)
    finally:
        process.kill()
        _, said = process.communicate()
    assert process.returncode == -signal.SIGKILL, said.decode()
    assert step <= last_step(folder) < 16
    assert state_of(data)[0] == "running"  # nobody could say that it is not
    result = train(file, data)
    assert result.exit_code == 0, result.output
    assert state_of(data) == ("finished", 16, "")
    _, expected = train_small(load_run(file), tmp_path / "whole")
    assert digest(saved_tensors(folder.state)) == digest(expected)
    steps = [at for at, name in losses_of(data) if name == "loss/total"]
    assert steps == list(range(1, 17))


def last_step(folder: RunFolder) -> int:
    return max((int(path.stem.removeprefix("step-")) for path in folder.state.glob("step-*.pt")), default=0)


def wait_until(is_so, timeout_s: float = 120) -> None:
    end_s, never = time.monotonic() + timeout_s, threading.Event()
    while not is_so():
        assert time.monotonic() < end_s, "waited in vain"
        never.wait(0.005)


def test_a_signal_ends_the_run_as_stopped(root: Path, tmp_path: Path, monkeypatch) -> None:
    file = write_run_file(tmp_path / "run.json", root, THREADS, "loop.steps=5")
    at_step(monkeypatch, 2, lambda: os.kill(os.getpid(), signal.SIGTERM))
    result = train(file, tmp_path)
    assert result.exit_code == 0, result.output
    assert "stopped at step " in result.stdout
    state, step, _ = state_of(tmp_path)
    assert state == "stopped"
    assert step == last_step(folder_of(file, tmp_path)) < 5
    assert train(file, tmp_path, "loop.stop_after=4").exit_code == 0
    assert state_of(tmp_path) == ("stopped", 4, "")
    assert "finished at step 5 of 5" in train(file, tmp_path).stdout
    assert state_of(tmp_path) == ("finished", 5, "")


def at_step(monkeypatch, wanted: int, act) -> None:
    """Call `act` once, after this step."""
    from upcycle.train import StepProgress

    show, waiting = StepProgress.__call__, [wanted]

    def shown(self, step: int, total: int, numbers) -> None:
        show(self, step, total, numbers)
        if step in waiting:
            waiting.clear()
            act()

    monkeypatch.setattr(StepProgress, "__call__", shown)


def test_a_full_disk_ends_the_run_with_a_line_and_it_goes_on_when_there_is_space(root, tmp_path, monkeypatch) -> None:
    file = write_run_file(tmp_path / "run.json", root, THREADS, "loop.steps=4", "loop.save_every=1")
    original = Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        if "step-" in path.name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return original(path, content)

    with monkeypatch.context() as patch:
        at_step(patch, 3, lambda: patch.setattr(Path, "write_bytes", full))
        result = train(file, tmp_path)
    assert isinstance(result.exception, StorageFullError)
    state, step, message = state_of(tmp_path)
    assert (state, step) == ("failed", 3)
    assert "no space left on this disk; free some" in message
    assert last_step(folder_of(file, tmp_path)) == 2
    result = train(file, tmp_path)
    assert "cpu, float32, 1 thread; step 2 of 4" in result.stderr.splitlines()
    assert state_of(tmp_path) == ("finished", 4, "")
    assert digest(saved_tensors(folder_of(file, tmp_path).state)) == digest(
        train_small(load_run(file), tmp_path / "w")[1]
    )


def test_a_diverged_run_is_recorded_as_failed(root: Path, tmp_path: Path, monkeypatch) -> None:
    file = write_run_file(tmp_path / "run.json", root, THREADS, "loop.steps=3")
    real = focal_loss
    calls = []

    def focal(logits, *others):
        calls.append(1)
        return real(logits * (float("nan") if len(calls) == 3 else 1), *others)  # the first scene of step 2

    monkeypatch.setattr("server.training.objectives.first_stage.focal_loss", focal)
    result = train(file, tmp_path)
    assert isinstance(result.exception, TrainingDivergedError)
    assert "classification nan" in str(result.exception)
    state, step, message = state_of(tmp_path)
    assert (state, step) == ("failed", 1)
    assert message.startswith("TrainingDivergedError: run small-")
    assert "frames of the batch: training-00000" in message


def test_an_error_that_is_none_of_ours_is_recorded_too(root: Path, tmp_path: Path, monkeypatch) -> None:
    file = write_run_file(tmp_path / "run.json", root, THREADS, "loop.steps=3")

    def fail() -> None:
        raise ZeroDivisionError("a defect")

    at_step(monkeypatch, 1, fail)
    assert isinstance(train(file, tmp_path).exception, ZeroDivisionError)
    assert state_of(tmp_path) == ("failed", 1, "ZeroDivisionError: a defect")
