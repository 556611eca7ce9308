"""Settings of the training loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from server.training.precision import PRECISIONS
from shared_models.errors import InvalidValueError
from shared_models.records import check

_MOST = 10**9
# They change when something is written or how fast it goes, never a weight: no part of a run's identity.
WITHOUT_EFFECT: Final = (
    "workers",
    "steps_ahead",
    "log_every",
    "save_every",
    "checkpoint_every",
    "evaluate_every",
    "stop_after",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopConfig:
    """How long and how training runs.

    batch_size: labelled scans of one step, of all processes together.
    epochs: passes over the labelled frames. steps: instead of epochs, where above 0.
    precision: "float32", "bfloat16" for the dense layers, or "auto": bfloat16 where the device has units for it.
    device: "auto" (a GPU where there is one), "cpu" or "cuda".
    threads: of the processor; 0 leaves torch's own choice.
    workers, steps_ahead: threads that prepare samples, and steps prepared beforehand.
    log_every: steps between logged numbers. save_every: steps between saved states that a stopped run goes on from.
    checkpoint_every: steps between checkpoints; 0 makes only the last one.
    evaluate_every: steps between evaluations; 0 evaluates only the last step.
    stop_after: ends the run early after this step while the schedule stays that of all steps; 0 never. For tests and
        for shares of a long run.
    The keys from workers on cannot change what is learned and are not part of a run's identity: the same run goes on
    with other values of them.
    """

    batch_size: int = 4
    epochs: int = 80
    steps: int = 0
    precision: str = "auto"
    device: str = "auto"
    threads: int = 0
    workers: int = 1
    steps_ahead: int = 2
    log_every: int = 10
    save_every: int = 200
    checkpoint_every: int = 0
    evaluate_every: int = 0
    stop_after: int = 0

    def __post_init__(self) -> None:
        check.count("LoopConfig", "batch_size", self.batch_size, 65_536)
        check.count("LoopConfig", "epochs", self.epochs, 100_000)
        for name in ("log_every", "save_every"):
            check.count("LoopConfig", name, getattr(self, name), _MOST)
        for name in ("steps", "checkpoint_every", "evaluate_every", "stop_after"):
            check.count("LoopConfig", name, getattr(self, name), _MOST, 0)
        check.count("LoopConfig", "threads", self.threads, 1024, 0)
        check.count("LoopConfig", "workers", self.workers, 256, 0)
        check.count("LoopConfig", "steps_ahead", self.steps_ahead, 64)
        if self.precision not in PRECISIONS:
            raise InvalidValueError(
                f"LoopConfig.precision: expected one of {', '.join(PRECISIONS)}, got {self.precision!r}"
            )
        if self.device not in ("auto", "cpu", "cuda"):
            raise InvalidValueError(f"LoopConfig.device: expected auto, cpu or cuda, got {self.device!r}")
