"""A run that keeps learning while vehicles upload: what `upcycle train --follow` opens and starts."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from server.evaluation.bootstrap import FrameScores
from server.evaluation.evaluator import run_detector
from server.evaluation.objects import EvaluatedFrame
from server.repositories.archive import open_run_log
from server.training.follow_loop import Follower, HeldOutScores
from server.training.follow_records import FollowRecords
from server.training.gate import Scores
from server.training.journal import Journal
from server.training.labelled_data import LabelledFrames
from server.training.loop import Outcome, Progress, TrainingLoop
from server.training.newcomers import HeldOutScenes, Newcomers
from server.training.preparation import prepare
from server.training.processes import Processes, choose_device
from server.training.publishing import Publisher
from server.training.recipes.upcycling import Upcycling
from server.training.run_config import RunConfig
from server.training.run_folder import RunFolder
from server.training.sources import labelled_frames, open_source
from shared_models.checkpoints import open_checkpoint
from shared_models.detector import Detector
from shared_models.errors import ConfigError
from shared_models.sparse import create_engine
from upcycle.fill_store import give_known_labels
from upcycle.training_session import ReportedEvaluation, remove_folder, run_and_say, run_record, way_of_computing

KEPT = 3  # checkpoints whose detections on the held-out frames stay in memory


def following(run: RunConfig) -> RunConfig:
    """`run` as one that follows its store.

    Raises:
        ConfigError: something is missing without which it cannot.
    """
    if run.recipe != "upcycling":
        raise ConfigError(f"--follow learns from stored features: recipe must be upcycling, not {run.recipe}")
    if not run.detector.checkpoint:
        raise ConfigError("--follow: give detector.checkpoint, the one that the vehicles run; it is published first")
    if run.data.evaluation is None:
        raise ConfigError("--follow: give data.evaluation, labelled frames for the checks of scenes and checkpoints")
    if run.loop.stop_after:
        raise ConfigError("--follow: leave loop.stop_after out; --max-rounds ends a call early")
    return replace(run, follow=replace(run.follow, is_on=True))


def follow(
    run: RunConfig,
    data: Path,
    progress: Progress | None = None,
    is_fresh: bool = False,
    announce: Callable[[str], None] | None = None,
    max_rounds: int = 0,
) -> Outcome:
    """Learn in rounds until a signal asks to stop, going on where a former call stopped.

    data: the server's data folder. is_fresh: forget what a former call left. max_rounds: judged in this call at most.

    Raises:
        ConfigError: the run cannot follow, or several processes were started.
        UpcycleError: as `Follower.follow`.
    """
    run = following(run)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError("--follow runs in one process; start it without torchrun")
    if run.loop.threads:
        torch.set_num_threads(run.loop.threads)
    folder = RunFolder.of(data, run)
    recipe = prepare(run, data, Processes(), choose_device(run.loop.device, Processes()))
    assert isinstance(recipe, Upcycling)
    give_known_labels(recipe)
    held_out = _HeldOutFrames(run, data, folder)
    loop = TrainingLoop(recipe, folder, None, held_out.evaluate, progress)
    publisher = Publisher(Path(run.follow.publish) if run.follow.publish else folder.path / "published")
    if is_fresh and folder.path.exists():
        remove_folder(folder.path)
    folder.write_run(run)
    loop.resume()
    with ExitStack() as stack:
        loop.journal = journal = _journal(run, data, folder, loop, stack)
        records = FollowRecords(folder.path)
        scenes = HeldOutScenes(recipe, held_out.labelled(recipe), run.follow.admission)
        newcomers = Newcomers(recipe, records, scenes, loop.stop)
        parts = (records, newcomers, held_out, publisher, journal)
        follower = Follower(loop, recipe, folder, parts, announce)
        if announce is not None:
            announce(way_of_computing(loop, Processes()))
            announce(f"published at {publisher.link}")
        return run_and_say(loop, journal, lambda: follower.follow(max_rounds))


def _journal(run: RunConfig, data: Path, folder: RunFolder, loop: TrainingLoop, stack: ExitStack) -> Journal:
    run_log = open_run_log(data, is_new_allowed=True)
    stack.callback(run_log.close)
    record = replace(run_record(run, folder, loop), total_steps=0)  # nobody knows how many there will be
    journal = Journal(folder.tensorboard, run_log, record)
    stack.callback(journal.close)
    return journal


class _HeldOutFrames(HeldOutScores):
    """Reports on the held-out frames and keeps what the last few checkpoints found on them in memory."""

    def __init__(self, run: RunConfig, data: Path, folder: RunFolder) -> None:
        assert run.data.evaluation is not None
        self._run, self._folder = run, folder
        self._source = open_source(run.data.evaluation, data / "cache")
        self._report = ReportedEvaluation(run, data, folder)
        self._kept: dict[Path, FrameScores] = {}

    def labelled(self, recipe: Upcycling) -> LabelledFrames:
        """The frames for the check of scenes."""
        return labelled_frames(self._source, recipe.setup.detector)

    def evaluate(self, detector: Detector, step: int) -> tuple[Mapping[str, Any], Mapping[str, float]]:
        """The report on the present weights, whose checkpoint is that of this step."""
        reported = self._report(detector, step)
        assert self._report.last is not None
        self._keep(self._folder.checkpoint(step), self._scores(self._report.last.frames, detector))
        return reported

    @property
    def frames(self) -> int:
        return len(self._source.frame_ids)

    def of(self, checkpoint: Path) -> Scores:
        found = self._kept.pop(checkpoint, None) or self._measured(checkpoint)
        self._keep(checkpoint, found)
        return found

    def _keep(self, checkpoint: Path, found: FrameScores) -> None:
        self._kept[checkpoint] = found
        while len(self._kept) > KEPT:
            del self._kept[next(iter(self._kept))]

    def _measured(self, checkpoint: Path) -> FrameScores:
        source, engine = self._source, create_engine(self._run.detector.engine)
        detector = open_checkpoint(checkpoint, engine=engine).to(choose_device(self._run.loop.device, Processes()))
        return self._scores(run_detector(detector, source.dataset, source.frame_ids, source.config.renamed), detector)

    def _scores(self, frames: Sequence[EvaluatedFrame], detector: Detector) -> FrameScores:
        gate = self._run.follow.gate
        return FrameScores(frames, detector.class_names, gate.metric, gate.overlap)
