"""One training run from its run file to its report: what `upcycle train` and `upcycle experiment` share."""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from server.evaluation.run_evaluation import RunEvaluation, RunEvaluationConfig, evaluate_run
from server.repositories.archive import open_run_log
from server.repositories.run_log import RunRecord, hash_run_file
from server.training.atomic_files import write_whole
from server.training.journal import Journal
from server.training.loop import Outcome, Progress, TrainingLoop
from server.training.preparation import prepare
from server.training.processes import Processes, choose_device, joined
from server.training.run_config import RunConfig, run_text
from server.training.run_folder import RunFolder
from server.training.sources import Source, open_source
from shared_models.detector import Detector
from shared_models.errors import StorageError, UpcycleError
from upcycle.fill_store import fill_for, give_known_labels, uses_stored_features

log = logging.getLogger(__name__)


def train(
    run: RunConfig,
    data: Path,
    progress: Progress | None = None,
    is_fresh: bool = False,
    announce: Callable[[str], None] | None = None,
) -> Outcome:
    """Train, going on where a former call with the same run file stopped; nothing is done where one finished.

    data: the server's data folder, made where it is missing; the same one for the processes of all machines.
    is_fresh: forget what a former call left, once everything that the run needs is there.
    announce: given one line about device, precision, threads and processes before the first step.

    Raises:
        UpcycleError: as `TrainingLoop.run` and `prepare`; once training has begun, the run log says that the run
            failed, and why.
    """
    wanted = "cpu" if run.loop.device == "cpu" or not torch.cuda.is_available() else "cuda"
    with joined(wanted) as processes, ExitStack() as stack:
        if run.loop.threads:
            torch.set_num_threads(run.loop.threads)
        folder = RunFolder.of(data, run)
        former = _finished_before(run, data, folder) if processes.is_first and not is_fresh else None
        former = processes.gathered(former)[0]
        if former is not None:
            return former
        loop = _prepared(run, data, folder, processes, progress)
        if processes.is_first:  # only now: a command that fails before leaves no folder and removes none
            if is_fresh and folder.path.exists():
                remove_folder(folder.path)
            folder.write_run(run)
        processes.wait()
        loop.resume()
        if not processes.is_first:
            return loop.run()
        run_log = open_run_log(data, is_new_allowed=True)
        stack.callback(run_log.close)
        journal = Journal(folder.tensorboard, run_log, run_record(run, folder, loop))
        stack.callback(journal.close)
        loop.journal = journal
        if announce is not None:
            announce(way_of_computing(loop, processes))
        return run_and_say(loop, journal, loop.run)


def _finished_before(run: RunConfig, data: Path, folder: RunFolder) -> Outcome | None:
    """How a former call ended that left nothing to do; None where there is none, or what it made is gone."""
    if not (folder.path / "run.json").is_file():
        return None
    run_log = open_run_log(data, is_new_allowed=True)  # one of an older version is brought up to date
    try:
        known = [record for record in run_log.starting_with(folder.run_id, 2) if record.run_id == folder.run_id]
    finally:
        run_log.close()
    if not known or known[0].state != "finished":
        return None
    step, total = known[0].step, known[0].total_steps
    is_evaluated = run.data.evaluation is None or folder.evaluation(step).is_file()
    if step != total or not folder.checkpoint(step).is_dir() or not is_evaluated:
        return None
    return Outcome(state="finished", step=step, total_steps=total, seconds=0.0, is_former=True)


def _prepared(
    run: RunConfig, data: Path, folder: RunFolder, processes: Processes, progress: Progress | None
) -> TrainingLoop:
    """The loop with all that it needs opened; nothing is written into the run's folder."""
    if processes.is_first and uses_stored_features(run):
        fill_for(run, data)
    processes.wait()
    recipe = prepare(run, data, processes, choose_device(run.loop.device, processes))
    give_known_labels(recipe)
    evaluate = ReportedEvaluation(run, data, folder) if run.data.evaluation is not None else None
    return TrainingLoop(recipe, folder, None, evaluate, progress if processes.is_first else None)


def run_and_say(loop: TrainingLoop, journal: Journal, run: Callable[[], Outcome]) -> Outcome:
    """What `run` gives; the run log says how it ended, whichever way. Raises what `run` raises."""
    try:
        outcome = run()
    except BaseException as error:
        is_stopped = isinstance(error, KeyboardInterrupt)
        said = "interrupted" if is_stopped else f"{type(error).__name__}: {error}"
        try:
            journal.state("stopped" if is_stopped else "failed", loop.step, said[:1000])
        except UpcycleError as second:  # the first one is what matters
            log.warning("the run log could not be told how the run ended", extra={"reason": str(second)[:200]})
        raise
    journal.state(outcome.state, outcome.step)
    return outcome


def way_of_computing(loop: TrainingLoop, processes: Processes) -> str:
    """A line on device, precision, threads, processes and step."""
    device = loop.device
    where = f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)
    threads, several = torch.get_num_threads(), f", {processes.count} processes" if processes.count > 1 else ""
    return (
        f"{where}, {loop.precision}, {threads} thread{'s' if threads > 1 else ''}{several}; "
        f"step {loop.step} of {loop.total_steps}"
    )


def remove_folder(folder: Path) -> None:
    """Forget a former run. Raises StorageError."""
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise StorageError(f"{folder}: cannot be removed: {error.strerror or error}; remove it yourself") from error


def run_record(run: RunConfig, folder: RunFolder, loop: TrainingLoop) -> RunRecord:
    """The run for the run log, at the step where it begins or goes on."""
    text = run_text(run)
    return RunRecord(
        run_id=folder.run_id,
        name=run.name,
        recipe=run.recipe,
        seed=run.seed,
        created_at_ns=time.time_ns(),
        run_file=text,
        run_file_sha256=hash_run_file(text),
        code_version=_code_version(),
        folder=str(folder.path),
        step=loop.step,
        total_steps=loop.total_steps,
    )


def _code_version() -> str:
    try:
        return version("upcycle-fleet")
    except PackageNotFoundError:
        return "source"


class ReportedEvaluation:
    """Evaluates on the run's held-out frames and keeps the report.

    last: of the last call.
    """

    def __init__(self, run: RunConfig, data: Path, folder: RunFolder) -> None:
        assert run.data.evaluation is not None
        self._source = open_source(run.data.evaluation, data / "cache")
        self._config = RunEvaluationConfig(overlaps=run.evaluation.overlaps, rules=run.evaluation.rules)
        self._folder = folder
        self.last: RunEvaluation | None = None

    def __call__(self, detector: Detector, step: int) -> tuple[Mapping[str, Any], Mapping[str, float]]:
        found = self.last = evaluate_source(detector, self._source, self._config)
        report = {"run_id": self._folder.run_id, "step": step, **found.to_dict()}
        write_whole(self._folder.evaluation(step), (json.dumps(report, indent=1) + "\n").encode())
        return report, found.numbers()


def evaluate_source(detector: Detector, source: Source, config: RunEvaluationConfig) -> RunEvaluation:
    """`detector` on the frames of a run file's source."""
    renamed = source.config.renamed
    return evaluate_run(detector, source.dataset, source.frame_ids, renamed, config)


def last_numbers(data: Path, run_id: str) -> dict[str, float]:
    """Single numbers of a run's last evaluation, by name; empty where it was not evaluated."""
    run_log = open_run_log(data)
    try:
        evaluations = run_log.evaluations(run_id)
        if not evaluations:
            return {}
        scalars = run_log.scalars(run_id, after_step=evaluations[-1].step - 1)
        return {scalar.name: scalar.value for scalar in scalars if scalar.step == evaluations[-1].step}
    finally:
        run_log.close()
