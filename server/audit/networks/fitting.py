"""Training of an attack's network: seeded, within its budget, and going on where an interruption left it.

All randomness of a step comes from a generator of (seed, step), so that a run that was interrupted ends with the same
bits as one that was not.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from server.audit.attack import Workbench
from server.training.optimiser import OptimiserConfig, make_optimiser
from server.training.saved_state import load_state, save_state
from shared_models.errors import TrainingDivergedError

log = logging.getLogger(__name__)

Loss = Callable[[torch.Generator], Tensor]
SAVE_EVERY_S: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """What a training did.

    steps: of all starts together. seconds: likewise. losses: of each step.
    is_cut: whether the seconds ran out before the steps; the result then depends on the machine's speed.
    """

    steps: int
    seconds: float
    losses: tuple[float, ...]
    is_cut: bool


def fit(
    network: nn.Module, loss: Loss, config: OptimiserConfig, steps: int, seconds: float, identity: str, bench: Workbench
) -> Fit:
    """Train `network` for `steps` steps, or until `seconds` have been spent.

    loss: of one step, with that step's randomness. identity: of everything that the result depends on beside the code;
        a saved state of another identity is left aside.

    Raises:
        TrainingDivergedError: a loss is not finite.
        CheckpointError: there is a saved state, and it cannot be read.
        StorageFullError, StorageError: the state cannot be saved.
    """
    return _Fitting(network, loss, config, steps, identity, bench).run(seconds)


def seed_of(seed: int, *purpose: object) -> int:
    """A seed of its own for each purpose, below 2^63."""
    text = "\n".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


class _Fitting:
    def __init__(
        self, network: nn.Module, loss: Loss, config: OptimiserConfig, steps: int, identity: str, bench: Workbench
    ) -> None:
        self.network, self.loss, self.config = network, loss, config
        self.steps, self.identity, self.bench = steps, identity, bench
        made: tuple[Optimizer, LRScheduler] = make_optimiser(network.parameters(), config, steps)
        self.optimiser, self.schedule = made
        self.losses: list[float] = []
        self.spent_s = 0.0

    def run(self, seconds: float) -> Fit:
        self._restore()
        self.network.train()
        start, saved = time.monotonic() - self.spent_s, time.monotonic()
        done = len(self.losses)
        while len(self.losses) < self.steps and self.spent_s < seconds:
            self._step()
            self.spent_s = time.monotonic() - start
            self.bench.progress(len(self.losses), self.steps)
            if time.monotonic() - saved > SAVE_EVERY_S:
                self._save()
                saved = time.monotonic()
        if len(self.losses) > done:
            self._save()
        self.network.eval()
        is_cut = len(self.losses) < self.steps
        if is_cut:
            log.warning("an attack's training ran out of time", extra={"steps": len(self.losses), "of": self.steps})
        return Fit(steps=len(self.losses), seconds=self.spent_s, losses=tuple(self.losses), is_cut=is_cut)

    def _step(self) -> None:
        number = len(self.losses)
        self.optimiser.zero_grad(set_to_none=True)
        loss = self.loss(torch.Generator().manual_seed(seed_of(self.bench.seed, "step", number)))
        if not bool(torch.isfinite(loss)):
            raise TrainingDivergedError(
                f"the loss of the attack is {float(loss.detach())} at step {number}; lower its learning_rate"
            )
        if loss.requires_grad:
            loss.backward()
            nn.utils.clip_grad_norm_(self.network.parameters(), self.config.clip_norm)
            self.optimiser.step()
        self.schedule.step()
        self.losses.append(float(loss.detach()))

    def _save(self) -> None:
        if self.bench.folder is None:
            return
        state = {
            "identity": self.identity,
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "losses": self.losses,
            "spent_s": self.spent_s,
        }
        save_state(self.bench.folder, len(self.losses), state)

    def _restore(self) -> None:
        folder: Path | None = self.bench.folder
        state: dict[str, Any] | None = load_state(folder) if folder is not None else None
        if state is None:
            return
        if state["identity"] != self.identity:
            log.warning(
                "a saved attack is of another configuration, and is trained anew", extra={"folder": str(folder)}
            )
            return
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])
        self.losses, self.spent_s = list(state["losses"]), float(state["spent_s"])
