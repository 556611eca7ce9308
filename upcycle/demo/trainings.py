"""Trainings as processes: `upcycle train` on a run file, watched through the log of runs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from server.repositories.archive import open_run_log
from server.repositories.run_log import RunLog
from server.training.run_config import RunConfig
from server.training.run_folder import RunFolder
from shared_models.errors import NotFoundError, OperatorError, StorageError
from upcycle.demo.run_files import write_run
from upcycle.demo.stages import Say

LOOK_EVERY_S: Final = 1.0
CURVES: Final = ("loss/total", "pseudo/boxes", "pseudo/pasted")
MOST_POINTS: Final = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """One training. folder: where the run file and what the process says go. data: the data folder of the trainings."""

    run: RunConfig
    folder: Path
    data: Path

    @property
    def checkpoint(self) -> Path:
        """What it makes at its end."""
        return RunFolder.of(self.data, self.run).checkpoint(self.run.loop.steps)

    @property
    def command(self) -> list[str]:
        """What makes it again."""
        return ["upcycle", "train", "--run", str(self.folder / f"{self.run.name}.json"), "--data", str(self.data)]

    def start(self) -> subprocess.Popen[bytes]:
        """Write the run file and start the process."""
        write_run(self.folder / f"{self.run.name}.json", self.run)
        environment = {**os.environ, "OMP_NUM_THREADS": str(self.run.loop.threads)}
        with self._log.open("wb") as log:
            arguments = [sys.executable, "-m", *self.command]
            return subprocess.Popen(arguments, stdout=log, stderr=log, env=environment)

    @property
    def _log(self) -> Path:
        return self.folder / f"{self.run.name}.log"

    def require(self, code: int) -> None:
        """Raises OperatorError where the process has not ended well; the message ends with what it said."""
        if code or not self.checkpoint.is_dir():
            said = self._log.read_text(errors="replace").strip()[-600:]
            raise OperatorError(f"{self.run.name} ended with exit code {code}: {said or 'it said nothing'}")

    def result(self) -> dict[str, Any]:
        """Steps, curves by name as [step, value], the checkpoint, and the command."""
        run_id = RunFolder.of(self.data, self.run).run_id
        log = open_run_log(self.data)
        try:
            scalars = log.scalars(run_id, CURVES, max_points=MOST_POINTS)
        finally:
            log.close()
        curves: dict[str, list[tuple[int, float]]] = {}
        for scalar in scalars:
            curves.setdefault(scalar.name, []).append((scalar.step, scalar.value))
        return {
            "run_id": run_id,
            "recipe": self.run.recipe,
            "steps": self.run.loop.steps,
            "batch_size": self.run.loop.batch_size,
            "threads": self.run.loop.threads,
            "checkpoint": str(self.checkpoint),
            "command": self.command,
            "curves": curves,
        }


def train_together(trainings: Sequence[Training], say: Say) -> list[dict[str, Any]]:
    """Run these at the same time, each in a process; gives the result of each.

    Raises:
        OperatorError: one of them failed; the others are ended.
    """
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for training in trainings:
            processes.append(training.start())
        while any(process.poll() is None for process in processes):
            time.sleep(LOOK_EVERY_S)
            say("; ".join(_how_far(training) for training in trainings))
            for training, process in zip(trainings, processes, strict=True):
                if process.poll():
                    training.require(process.returncode)
        for training, process in zip(trainings, processes, strict=True):
            training.require(process.returncode)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return [training.result() for training in trainings]


def _how_far(training: Training) -> str:
    run_id = RunFolder.of(training.data, training.run).run_id
    try:
        log = open_run_log(training.data)
    except (NotFoundError, StorageError):  # not there yet, or just being made
        return f"{training.run.name} begins"
    try:
        return f"{training.run.name}: {_step(log, run_id)}"
    finally:
        log.close()


def _step(log: RunLog, run_id: str) -> str:
    known = log.starting_with(run_id, 1)
    if not known:
        return "begins"
    losses = log.scalars(run_id, ("loss/total",))
    loss = f", loss {losses[-1].value:.2f}" if losses else ""
    step = losses[-1].step if losses else 0
    return f"step {step} of {known[0].total_steps}{loss}"
