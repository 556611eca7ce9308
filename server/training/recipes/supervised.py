"""Supervised training on labelled scans: pre-training, the baseline, and the oracle."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from server.training.batches import BatchSampler
from server.training.frozen import freeze_vehicle_part, train_server_part
from server.training.labelled_preparation import labelled_preparation
from server.training.loader import Loader, LoaderConfig
from server.training.objective import TermSelection
from server.training.recipe import Prepared, Recipe, RecipeSetup
from server.training.samples import LabelledScan
from server.training.step_module import StepInput
from shared_models.records import check


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisedConfig:
    """Settings of supervised training.

    repeat: how often each labelled frame comes in one epoch.
    database_min_points: as `DatabaseConfig`.
    freeze_vehicle_part: the vehicle part keeps every bit, as with UpCycling; the control of what that costs.
    """

    repeat: int = 1
    database_min_points: int = 5
    freeze_vehicle_part: bool = False

    def __post_init__(self) -> None:
        check.count("SupervisedConfig", "repeat", self.repeat, 10_000)
        check.count("SupervisedConfig", "database_min_points", self.database_min_points, 100_000)


class Supervised(Recipe):
    """Everything is trained, from the points on, or what lies behind the cut."""

    name = "supervised"
    config_class = SupervisedConfig
    config: SupervisedConfig

    def __init__(self, setup: RecipeSetup, config: SupervisedConfig) -> None:
        super().__init__(setup, config)
        run, frames = setup.run, setup.labelled
        if config.freeze_vehicle_part:
            freeze_vehicle_part(setup.detector)
        self._sampler = BatchSampler(
            count=len(frames), batch_size=run.loop.batch_size, seed=run.seed, repeat=config.repeat
        )
        self._prepare = labelled_preparation(setup, config.database_min_points)
        self._loader: Loader[LabelledScan] | None = None

    @property
    def steps_per_epoch(self) -> int:
        return self._sampler.steps(1)

    @property
    def waited_s(self) -> float:
        return 0.0 if self._loader is None else self._loader.waited_s

    @contextmanager
    def batches(self, steps: range) -> Iterator[Iterator[Prepared]]:
        processes, loop = self.setup.processes, self.setup.run.loop
        self._loader = Loader(
            self._prepare,
            self._sampler,
            steps,
            config=LoaderConfig(workers=loop.workers, steps_ahead=loop.steps_ahead),
            rank=processes.rank,
            world_size=processes.count,
        )
        with self._loader as loader:
            yield (Prepared(step=batch.step, samples=batch.samples) for batch in loader)

    def training_mode(self) -> None:
        if self.config.freeze_vehicle_part:
            train_server_part(self.setup.detector)
        else:
            super().training_mode()

    def compose(self, prepared: Prepared) -> StepInput:
        scans, count = prepared.samples, len(prepared.samples)
        return StepInput(
            frame_ids=tuple(scan.frame_id for scan in scans),
            scans=tuple(torch.from_numpy(scan.points).to(self.setup.device) for scan in scans),
            truths=tuple(scan.truth for scan in scans),
            terms=(TermSelection(),) * count,
            weights=(1 / count,) * count,
            seed=(self.setup.run.seed, prepared.step),
            places=self.places(count),
        )
