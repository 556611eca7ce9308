"""Continuous learning in rounds: look for new scenes, learn, evaluate, publish or go back, again and again.

A round's place is kept in the saved state (its last step) and in `rounds.jsonl` (whether it was judged), so that a
killed run goes on where it was: a round that is not judged is finished and judged again, with the same outcome.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from server.training.follow_records import FollowRecords, RoundRecord, SceneDecision
from server.training.gate import MEAN, GateDecision, Scores, judge
from server.training.journal import Journal
from server.training.loop import Outcome, TrainingLoop
from server.training.newcomers import Newcomers
from server.training.publishing import Publisher
from server.training.recipes.upcycling import Upcycling
from server.training.run_folder import RunFolder
from server.training.saved_state import load_state, save_state
from server.training.stored_features import StoredScenes
from shared_models.checkpoints import read_manifest
from shared_models.errors import CheckpointError, NotFoundError, TrainingDivergedError


class HeldOutScores(ABC):
    """Abstract: AP on the held-out labelled frames."""

    @property
    @abstractmethod
    def frames(self) -> int:
        """How many there are."""

    @abstractmethod
    def of(self, checkpoint: Path) -> Scores:
        """Of a checkpoint of this run. Raises CheckpointError."""


class Follower:
    """Runs the rounds of one run; `loop.resume()` has been called."""

    def __init__(
        self,
        loop: TrainingLoop,
        recipe: Upcycling,
        folder: RunFolder,
        parts: tuple[FollowRecords, Newcomers, HeldOutScores, Publisher, Journal],
        announce: Callable[[str], None] | None = None,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._loop, self._recipe, self._folder = loop, recipe, folder
        self._records, self._newcomers, self._held_out, self._publisher, self._journal = parts
        self._say = announce or (lambda line: None)
        self._clock_ns = clock_ns
        self._run = recipe.setup.run
        self._config = self._run.follow
        self._rounds = self._records.rounds()
        self._usable = StoredScenes.none()
        self._backbone_hash = recipe.teacher.backbone_hash
        self._learned: frozenset[str] = frozenset()

    def follow(self, max_rounds: int = 0) -> Outcome:
        """Learn until a signal asks to stop, or until `max_rounds` rounds were judged in this call (0: no end).

        Raises:
            TrainingDivergedError: `follow.failed_rounds` rounds in a row were refused.
            UpcycleError: as `TrainingLoop.run`; checks of scenes and the gate: as their parts.
        """
        started_s, judged = time.perf_counter(), 0
        with self._loop.stop.listening():
            self._take_up()
            while not self._loop.stop.is_wanted and (not max_rounds or judged < max_rounds):
                if not self._is_judged():
                    judged += self._finish_round()
                elif self._wait_for_scenes():
                    self._begin_round()
        return Outcome(
            state="stopped",
            step=self._loop.step,
            total_steps=self._loop.total_steps,
            seconds=time.perf_counter() - started_s,
        )

    def _is_judged(self) -> bool:
        return bool(self._rounds) and self._rounds[-1].last_step == self._loop.total_steps

    def _take_up(self) -> None:
        """Where a former call stopped, or with the first checkpoint."""
        good = load_state(self._folder.good)
        if good is not None:
            self._learned = frozenset(scene for own in good["recipe"]["seen"].values() for scene in own)
        if not self._rounds:
            self._publish_first()
        elif self._is_judged():
            self._settle()

    def _publish_first(self) -> None:
        self._loop.make_checkpoint()
        self._loop.run_evaluation()
        self._close(GateDecision(is_passed=True, why="what the run began with"), self._checkpoint())

    def _checkpoint(self) -> Path:
        return self._folder.checkpoint(self._loop.step)

    def _wait_for_scenes(self) -> bool:
        """Look until there is something new to learn from; False where a signal came first."""
        stop, said = self._loop.stop, ""
        while not stop.is_wanted:
            self._usable = self._newcomers.look(len(self._rounds))
            new = sum(scene.scene_id not in self._learned for scene in self._usable.scenes)
            if new >= self._config.new_scenes and not stop.is_wanted:
                return True
            line = self._waiting_line(new)
            if line != said:
                self._say(line)
            said = line
            stop.wait(self._config.poll_s)
        return False

    def _waiting_line(self, new: int) -> str:
        kept_out = sum(each.state == "quarantined" for each in self._records.decisions().values())
        shut = f", {kept_out} in quarantine (`upcycle runs quarantine`)" if kept_out else ""
        return (
            f"waiting for scenes of backbone {self._backbone_hash[:12]}: {len(self._usable)} can be learned from, "
            f"{new} of them new{shut}; a round begins at {self._config.new_scenes}, looking every "
            f"{self._config.poll_s:g} s"
        )

    def _begin_round(self) -> None:
        loop, config, number = self._loop, self._config, len(self._rounds)
        was_refused = not self._rounds[-1].is_passed
        self._recipe.learn_from(self._usable)
        loop.begin_round(config.round_steps, config.learning_rate_share)
        if was_refused:  # what the refused weights were saved as has seen scenes that the present ones have not
            for path in self._folder.state.glob("step-*.pt"):
                if path.stem != f"step-{loop.step:08d}":
                    path.unlink(missing_ok=True)
        admitted, quarantined, removed = self._counts(number)
        self._say(
            f"round {number}: steps {loop.step + 1} to {loop.total_steps} on {len(self._usable)} scenes; since the "
            f"round before {admitted} admitted, {quarantined} quarantined, {removed} removed"
        )
        self._journal.numbers(
            loop.step,
            {
                "follow/round": number,
                "follow/scenes": len(self._usable),
                "follow/admitted": admitted,
                "follow/quarantined": quarantined,
                "follow/removed": removed,
            },
        )

    def _finish_round(self) -> bool:
        """Train to the round's end and judge it; False where a signal came first, or a scene was deleted meanwhile."""
        if not len(self._recipe.scenes):
            self._close(GateDecision(is_passed=False, why="every scene of the round was deleted meanwhile"), None)
            return True
        try:
            outcome = self._loop.run()
        except TrainingDivergedError as error:
            self._close(GateDecision(is_passed=False, why=str(error)), None)
            return True
        except NotFoundError:
            if not self._drop_deleted():
                raise
            return False
        if outcome.state == "stopped" or self._loop.stop.is_wanted:
            return False
        self._close(self._judge(self._checkpoint()), self._checkpoint())
        return True

    def _drop_deleted(self) -> bool:
        """Go on without the scenes that were deleted in the middle of a round; whether there were any."""
        before = self._recipe.scenes
        left = self._recipe.stored_now().still(scene.scene_id for scene in before.scenes)
        if len(left) < len(before):
            self._say(f"{len(before) - len(left)} scenes of this round were deleted; it goes on without them")
            self._recipe.learn_from(left)
        return len(left) < len(before)

    def _judge(self, checkpoint: Path) -> GateDecision:
        """The new checkpoint against the last published one, and the best one."""
        gate = self._config.gate
        passed = [record for record in self._rounds if record.is_passed]
        best = max(passed, key=lambda record: (record.scores.get(MEAN, 0.0), record.number))
        against = {"the last published one": passed[-1]}
        if gate.watches_best and best is not passed[-1]:
            against["the best published one"] = best
        scores = {
            called: self._held_out.of(self._folder.path / "checkpoints" / record.checkpoint)
            for called, record in against.items()
        }
        seed = (self._run.seed, len(self._rounds))
        return judge(self._held_out.of(checkpoint), scores, self._held_out.frames, gate, seed)

    def _close(self, decision: GateDecision, checkpoint: Path | None) -> None:
        """Publish or not, and remember it."""
        loop, number = self._loop, len(self._rounds)
        if number == 0 and checkpoint is not None:
            first = judge(self._held_out.of(checkpoint), {}, self._held_out.frames, self._config.gate, (0,))
            decision = replace(first, why=decision.why)
        if decision.is_passed and checkpoint is not None:
            self._publish(checkpoint)
        admitted, quarantined, removed = self._counts(number)
        record = RoundRecord(
            number=number,
            first_step=self._rounds[-1].last_step if self._rounds else 0,
            last_step=loop.total_steps,
            scenes=len(self._recipe.scenes),
            admitted=admitted,
            quarantined=quarantined,
            removed=removed,
            is_passed=decision.is_passed,
            why=decision.why,
            checkpoint="" if checkpoint is None else checkpoint.name,
            at_ns=self._clock_ns(),
            differences=decision.differences,
            scores=decision.scores,
        )
        self._records.add_round(record)
        self._rounds.append(record)
        self._journal.numbers(loop.step, decision.numbers())
        verb = "published" if decision.is_passed else "NOT published"
        self._say(f"round {number}: step {loop.step} {verb}: {decision.why}")
        self._newcomers.forget_teacher()
        self._settle()

    def _publish(self, checkpoint: Path) -> None:
        found = read_manifest(checkpoint).backbone_hash
        if found != self._backbone_hash:
            raise CheckpointError(
                f"{checkpoint}: its vehicle part is {found[:12]}, the run began with {self._backbone_hash[:12]}; "
                "stored features would not fit it, so it is not published"
            )
        self._recipe.scenes_seen().write(self._folder.good)
        save_state(self._folder.good, self._loop.step, self._loop.snapshot())
        self._publisher.publish(checkpoint)
        seen = self._recipe.scenes_seen().by_vehicle.values()
        self._learned = frozenset(scene for own in seen for scene in own)

    def _settle(self) -> None:
        """After a refused round: end the run where there were too many in a row, else go back to the last good state.

        A round that has no checkpoint diverged, or lost its scenes: its weights are never gone on from.
        """
        last = self._rounds[-1]
        if last.is_passed:
            return
        if self._config.after_failure == "return" or not last.checkpoint:
            good = load_state(self._folder.good)
            if good is None:
                raise CheckpointError(f"{self._folder.good}: the state of the last published checkpoint is gone")
            self._loop.return_to(good)
            self._newcomers.forget_teacher()
        failed = next((n for n, record in enumerate(reversed(self._rounds)) if record.is_passed), len(self._rounds))
        if failed >= self._config.failed_rounds:
            raise TrainingDivergedError(
                f"run {self._folder.run_id}: {failed} rounds in a row were refused, the last one because: {last.why}; "
                f"step {self._last_published()} stays published. Look at the scenes that came last (`upcycle runs "
                "quarantine`, `upcycle runs affected`); a higher follow.failed_rounds lets the run go on"
            )

    def _last_published(self) -> int:
        return next(record.last_step for record in reversed(self._rounds) if record.is_passed)

    def _counts(self, number: int) -> tuple[int, int, int]:
        """Scenes admitted, quarantined and removed before round `number`, each counted by what it is now."""
        own: list[SceneDecision] = [each for each in self._records.decisions().values() if each.round == number]
        states = [each.state for each in own]
        admitted = states.count("admitted") + states.count("released")
        return admitted, states.count("quarantined") + states.count("rejected"), states.count("removed")
