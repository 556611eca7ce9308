"""The interface of training recipes: what a method adds to the one training loop.

Implementations and their table are in `server.training.recipes`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from server.training.labelled_data import LabelledFrames
from server.training.objective import Objective
from server.training.processes import Processes
from server.training.run_config import RunConfig
from server.training.seen_scenes import SeenScenes, read_seen
from server.training.step_module import StepInput
from shared_models.detectors.anchor_detector import AnchorDetector


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeSetup:
    """What every recipe is given.

    data: the server's data folder.
    labelled: the labelled frames. allowed_labels: names of the frames whose labels may be used at all, from the split's
        own manifest where there is one, so that a mistake in choosing frames shows.
    """

    run: RunConfig
    data: Path
    detector: AnchorDetector
    objective: Objective
    labelled: LabelledFrames
    allowed_labels: frozenset[str]
    processes: Processes
    device: torch.device

    @property
    def range_m(self) -> tuple[float, ...]:
        """[x_min y_min z_min x_max y_max z_max] that the detector sees, metres."""
        return tuple(self.detector.config.voxels.point_range_m)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A step's samples as the loader made them; the recipe knows what they are."""

    step: int
    samples: Any


class Recipe(ABC):
    """Abstract: one way of learning.

    name: as in the table. config_class: of the run file's section `settings`.
    """

    name: ClassVar[str]
    config_class: ClassVar[type]

    def __init__(self, setup: RecipeSetup, config: Any) -> None:
        self.setup = setup
        self.config = config
        checkpoint = setup.run.detector.checkpoint
        self._seen_before = (read_seen(Path(checkpoint)) if checkpoint else None) or SeenScenes()

    @property
    @abstractmethod
    def steps_per_epoch(self) -> int:
        """Steps until every labelled sample has come once."""

    @abstractmethod
    def batches(self, steps: range) -> AbstractContextManager[Iterator[Prepared]]:
        """The samples of these steps, prepared ahead."""

    @abstractmethod
    def compose(self, prepared: Prepared) -> StepInput:
        """What the network sees in this step, on the device."""

    @property
    @abstractmethod
    def waited_s(self) -> float:
        """Seconds that the loop has waited for samples so far."""

    def places(self, *counts: int) -> tuple[int, ...]:
        """Where this process's scenes stand in the step's batch of all processes (`StepInput.places`).

        counts: this process's scenes of each kind (labelled, stored); every process has as many.
        """
        rank, size = self.setup.processes.rank, self.setup.processes.count
        starts = (sum(counts[:kind]) * size + rank * count for kind, count in enumerate(counts))
        return tuple(start + each for start, count in zip(starts, counts, strict=True) for each in range(count))

    def trained_parameters(self) -> Iterator[nn.Parameter]:
        """Those that the optimiser changes; by default all of the detector's that want gradients."""
        return (parameter for parameter in self.setup.detector.parameters() if parameter.requires_grad)

    def training_mode(self) -> None:
        """Put the detector into training mode; recipes with frozen parts keep those in evaluation mode."""
        self.setup.detector.train()

    def after_step(self, step: int) -> Mapping[str, float]:
        """Called after the optimiser's step; gives further numbers to log."""
        return {}

    def scenes_seen(self) -> SeenScenes:
        """Stored scenes that the present weights have learned from; by default those of the first weights."""
        return self._seen_before

    def state(self) -> dict[str, Any]:
        """What must be kept to go on later: tensors and plain values."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:  # noqa: B027 - most recipes have no state
        """Go on from `state`."""
