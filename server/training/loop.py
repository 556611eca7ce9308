"""The one training loop: steps, precision, processes, logging, saved states, checkpoints. Recipes add the rest."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from server.training.journal import Journal
from server.training.optimiser import make_optimiser, make_schedule
from server.training.precision import autocast, resolve
from server.training.recipe import Recipe
from server.training.run_folder import RunFolder
from server.training.saved_state import load_state, save_state, state_sha256
from server.training.seen_scenes import read_seen
from server.training.shared_norm import share_batch_norm
from server.training.step_module import StepInput, StepModule
from server.training.stopping import StopRequest
from shared_models import checkpoints
from shared_models.errors import ConfigError, TrainingDivergedError

log = logging.getLogger(__name__)

Evaluate = Callable[[Any, int], tuple[Mapping[str, Any], Mapping[str, float]]]
Progress = Callable[[int, int, Mapping[str, float]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a call of the loop ended.

    state: "stopped" where a signal or `stop_after` ended it early. is_former: a former call had finished it already.
    """

    state: Literal["finished", "stopped"]
    step: int
    total_steps: int
    seconds: float
    is_former: bool = False


class TrainingLoop:
    """Trains a recipe's detector; one object a run and process.

    precision: in which the dense layers are computed, on device. total_steps: of the whole run, or up to the end of
        the present round where the run follows its store. step: done so far. stop: may ask it to stop.
    evaluate: called with the detector and the step; gives a report and single numbers of it.
    progress: called after each step with step, total and the last numbers.
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: RunFolder,
        journal: Journal | None,
        evaluate: Evaluate | None = None,
        progress: Progress | None = None,
    ) -> None:
        """journal: of the first process, None in the others."""
        setup = recipe.setup
        self._recipe, self._folder, self.journal = recipe, folder, journal
        self._evaluate, self._progress = evaluate, progress
        self._run, self.device, self._processes = setup.run, setup.device, setup.processes
        self._config = setup.run.loop
        self.precision = resolve(self._config.precision, self.device)
        self._has_rounds = setup.run.follow.is_on
        self.total_steps = 0 if self._has_rounds else self._config.steps or recipe.steps_per_epoch * self._config.epochs
        share_batch_norm(setup.detector)
        module = StepModule(setup.detector, setup.objective)
        self._module: nn.Module = module
        if self._processes.count > 1:
            # Buffers are equal already: the shared batch norm computes them from the same sums everywhere.
            self._module = DistributedDataParallel(module, forward_sync_buffers=False, find_unused_parameters=True)
        self._parameters = list(recipe.trained_parameters())
        self._optimiser, self._schedule = make_optimiser(
            self._parameters, setup.run.optimiser, max(1, self.total_steps)
        )
        self.step = 0
        self.stop, self._is_stop_agreed = StopRequest(), False

    def resume(self) -> bool:
        """Go on from the run's last saved state, if there is one; every process has to call it.

        Raises:
            CheckpointError: there are states and none can be read.
            ConfigError: the state is of another number of steps or other parameters, or the processes found different
                states (machines without a shared data folder).
        """
        state = load_state(self._folder.state)
        if state is not None:
            self._take(state)
        self._check_equal_states()
        return state is not None

    def begin_round(self, steps: int, rate_share: float) -> None:
        """Learn for `steps` more steps, in a cycle that reaches this share of the learning rate; saves the state."""
        config = self._run.optimiser
        cycle = replace(config, learning_rate=config.learning_rate * rate_share)
        self._schedule = make_schedule(self._optimiser, cycle, steps)
        self.total_steps = self.step + steps
        self._save()

    def snapshot(self) -> dict[str, Any]:
        """Everything but the step that a saved state holds."""
        return {
            "total_steps": self.total_steps,
            "detector": self._recipe.setup.detector.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "schedule": self._schedule.state_dict(),
            "recipe": self._recipe.state(),
        }

    def return_to(self, state: Mapping[str, Any]) -> None:
        """Take the weights, moments and scenes of a former state; steps go on being counted from where they are."""
        step, total = self.step, self.total_steps
        self._take({**state, "total_steps": total})
        self.step = step

    def _take(self, state: Mapping[str, Any]) -> None:
        if self._has_rounds:
            self.total_steps = int(state["total_steps"])
        if state["total_steps"] != self.total_steps:
            raise ConfigError(
                f"run {self._folder.run_id}: its saved state is of {state['total_steps']} steps, the run file asks for "
                f"{self.total_steps}; begin anew with --fresh"
            )
        self._recipe.setup.detector.load_state_dict(state["detector"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._schedule.load_state_dict(state["schedule"])
        self._recipe.load_state(state["recipe"])
        self.step = int(state["step"])

    def _check_equal_states(self) -> None:
        own = (self.step, state_sha256(self._recipe.setup.detector.state_dict())) if self._processes.count > 1 else None
        found = self._processes.gathered(own)
        if len(set(found)) == 1:
            return
        folder = self._folder
        each = "; ".join(f"process {rank}: step {step}, {sha[:12]}" for rank, (step, sha) in enumerate(found))
        raise ConfigError(
            f"run {folder.run_id}: the processes would go on from different weights ({each}): give all machines one "
            f"shared folder as --data, or copy {folder.state} of the first machine to each of the others"
        )

    def run(self) -> Outcome:
        """Train to the end, or until a signal asks to stop; the state is saved in both cases.

        Raises:
            TrainingDivergedError: a loss or a gradient is not finite.
            StorageFullError, StorageError: something cannot be written; the last saved state is still there.
        """
        started_s, last = time.perf_counter(), min(self._config.stop_after or self.total_steps, self.total_steps)
        with self.stop.listening(), self._recipe.batches(range(self.step, last)) as batches:
            for prepared in batches:
                self._one_step(self._recipe.compose(prepared))
                if self._is_stop_agreed:
                    break
        is_done = self.step >= self.total_steps
        self._save()
        if is_done:
            self.make_checkpoint()
            self.run_evaluation()
        return Outcome(
            state="finished" if is_done else "stopped",
            step=self.step,
            total_steps=self.total_steps,
            seconds=time.perf_counter() - started_s,
        )

    def _one_step(self, step_input: StepInput) -> None:
        started_s = time.perf_counter()
        # Dropout draws from torch's generator: seeded by the step, a resumed run draws the same.
        torch.manual_seed(((self._run.seed * 1_000_003 + self.step) * 4099 + self._processes.rank) % 2**63)
        self._recipe.training_mode()
        with autocast(self.precision, self.device):
            total, terms, counts = self._module(step_input)
        numbers = self._of_all_processes(total, terms, counts)
        self._check_finite(numbers["loss/total"], numbers, step_input)
        self._optimiser.zero_grad(set_to_none=True)
        total.backward()
        norm = float(nn.utils.clip_grad_norm_(self._parameters, self._run.optimiser.clip_norm))
        self._check_finite(norm, numbers, step_input)
        rate = float(self._schedule.get_last_lr()[0])
        self._optimiser.step()
        self._schedule.step()
        self.step += 1
        numbers |= {"train/learning_rate": rate, "train/gradient_norm": norm}
        numbers |= self._recipe.after_step(self.step)
        numbers["train/step_s"] = time.perf_counter() - started_s
        self._after(numbers)

    def _of_all_processes(
        self, total: Tensor, terms: Mapping[str, Tensor], counts: Mapping[str, float]
    ) -> dict[str, float]:
        """Losses of the whole batch, which are means over processes, and counts, which are sums; the same in each.

        Also agrees on whether to stop: a process that left the loop alone would leave the others waiting for it.
        """
        losses = {f"loss/{name}": float(term) for name, term in terms.items()} | {"loss/total": float(total.detach())}
        count = self._processes.count
        *summed, stops = self._processes.summed(
            [*losses.values(), *counts.values(), float(self.stop.is_wanted)], self.device
        )
        self._is_stop_agreed = stops > 0
        found = {name: value / count for name, value in zip(losses, summed[: len(losses)], strict=True)}
        matched = zip(counts, summed[len(losses) :], strict=True)
        return found | {f"matched/{name}": value for name, value in matched}

    def _after(self, numbers: dict[str, float]) -> None:
        config = self._config
        numbers["train/waited_s"] = self._recipe.waited_s
        is_last = self.step == self.total_steps
        if self.journal is not None and (self.step % config.log_every == 0 or self.step == 1 or is_last):
            self.journal.numbers(self.step, numbers)
        if self._progress is not None:
            self._progress(self.step, self.total_steps, numbers)
        if is_last:
            return
        if config.checkpoint_every and self.step % config.checkpoint_every == 0:
            self.make_checkpoint()
        if config.evaluate_every and self.step % config.evaluate_every == 0:
            self.run_evaluation()
        if self.step % config.save_every == 0:
            self._save()

    def _save(self) -> None:
        if self._processes.is_first:
            self._recipe.scenes_seen().write(self._folder.state)
            save_state(self._folder.state, self.step, self.snapshot())
            if self.journal is not None:
                self.journal.flush()
        self._processes.wait()

    def make_checkpoint(self) -> None:
        """Keep the present weights as the checkpoint of this step, with the scenes that they have seen."""
        folder = self._folder.checkpoint(self.step)
        if self._processes.is_first:
            if not folder.exists():  # a resumed run makes the same again
                note = f"{self._folder.run_id}, step {self.step}"
                start = Path(self._run.detector.checkpoint)  # a .pth file has no id
                is_known = bool(self._run.detector.checkpoint) and start.is_dir()
                parent = checkpoints.read_manifest(start).checkpoint_id if is_known else None
                checkpoints.save(self._recipe.setup.detector, folder, is_trained=True, parent=parent, note=note)
            if read_seen(folder) is None:
                self._recipe.scenes_seen().write(folder)
        self._processes.wait()

    def run_evaluation(self) -> None:
        """Evaluate the present weights and log what was found."""
        if self._evaluate is not None and self._processes.is_first:
            detector = self._recipe.setup.detector
            detector.eval()
            report, numbers = self._evaluate(detector, self.step)
            if self.journal is not None:
                self.journal.evaluation(self.step, report, numbers)
        self._processes.wait()

    def _check_finite(self, value: float, numbers: Mapping[str, float], step_input: StepInput) -> None:
        if math.isfinite(value):  # the same in every process, so all of them end here, or none
            return
        terms = {name.removeprefix("loss/"): value for name, value in numbers.items() if name.startswith("loss/")}
        frames = self._processes.joined_names(step_input.frame_ids)
        newest = self._folder.newest_weights(self.step)
        good = newest or self._run.detector.checkpoint or "none was made yet"
        raise TrainingDivergedError(
            f"run {self._folder.run_id}: the loss or its gradient is not finite at step {self.step + 1} "
            f"({', '.join(f'{name} {term:g}' for name, term in terms.items())}); "
            f"frames of the batch: {', '.join(frames)}; last good checkpoint: {good}; "
            "look at these frames, or lower optimiser.learning_rate"
        )
