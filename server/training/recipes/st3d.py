"""ST3D (Yang et al., CVPR 2021): self-training on raw scans of the target domain, with a memory of pseudo labels.

The raw-level comparison for domain adaptation. It begins with a source model (statistical normalisation or random
object scaling in its pre-training), and learns from the target's scans only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from server.training.augmentation_chain import AugmentationConfig, compose
from server.training.augmentations.scaling import ScalingConfig
from server.training.batches import BatchSampler, Sample
from server.training.labelled_data import in_range
from server.training.loader import Loader, LoaderConfig
from server.training.objective import TermSelection
from server.training.pseudo_labels import PseudoLabelConfig, choose_scored
from server.training.pseudo_memory import MemoryConfig, Remembered, merge
from server.training.recipe import Prepared, Recipe, RecipeSetup
from server.training.samples import LabelledScan, Truth
from server.training.sources import open_source
from server.training.step_module import StepInput
from server.training.unlabelled_data import UnlabelledFrames
from shared_models.errors import ConfigError
from shared_models.records import check

CURRICULUM = AugmentationConfig(
    order=("object_noise", "flip", "rotation", "scaling"), scaling=ScalingConfig(low=0.97, high=1.03)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class St3dConfig:
    """Settings of ST3D.

    refresh_epochs: pseudo labels are made anew every so many epochs (SECOND-IoU 2, PV-RCNN 4).
    pseudo_labels: thresholds. memory: of labels between rounds; has_memory: whether there is one (SECOND-IoU only).
    augmentation: of the target's scans. curriculum: it is `growth` times as strong from each of these epochs on
        (SECOND-IoU 1.1, PV-RCNN 1.2).
    """

    refresh_epochs: int = 2
    pseudo_labels: PseudoLabelConfig = PseudoLabelConfig.domain_adaptation()
    memory: MemoryConfig = MemoryConfig()
    has_memory: bool = True
    augmentation: AugmentationConfig = CURRICULUM
    curriculum: tuple[int, ...] = (5, 10, 20, 25)
    growth: float = 1.1

    def __post_init__(self) -> None:
        check.count("St3dConfig", "refresh_epochs", self.refresh_epochs, 10_000)
        check.number("St3dConfig", "growth", self.growth, 1, 10)
        check.count("St3dConfig", "curriculum", self.curriculum, 10**9, 0)
        if self.augmentation.needs_database:
            raise ConfigError("St3dConfig.augmentation: there are no labelled objects of the target domain to sample")


class St3d(Recipe):
    """The whole detector is trained, on pseudo labels only."""

    name = "st3d"
    config_class = St3dConfig
    config: St3dConfig

    def __init__(self, setup: RecipeSetup, config: St3dConfig) -> None:
        super().__init__(setup, config)
        unlabelled = setup.run.data.unlabelled
        if unlabelled is None:
            raise ConfigError("recipe st3d: data.unlabelled is missing: it names the raw frames of the target domain")
        source = open_source(unlabelled, setup.data / "cache", with_labels=False)
        self._frames = UnlabelledFrames(
            source.dataset, source.frame_ids, setup.detector.point_fields, source.config.view
        )
        self._sampler = BatchSampler(count=len(self._frames), batch_size=setup.run.loop.batch_size, seed=setup.run.seed)
        self._memory: dict[str, Remembered] = {}
        self._round = -1
        self._telemetry: dict[str, float] = {}
        self._loader: Loader[Any] | None = None

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
            self._read,
            self._sampler,
            steps,
            config=LoaderConfig(workers=loop.workers, steps_ahead=loop.steps_ahead),
            rank=processes.rank,
            world_size=processes.count,
        )
        with self._loader as loader:
            yield (Prepared(step=batch.step, samples=batch.samples) for batch in loader)

    def _read(self, sample: Sample) -> tuple[LabelledScan, np.random.Generator]:
        return self._frames.scan(self._frames.frame_ids[sample.index]), sample.rng()

    def compose(self, prepared: Prepared) -> StepInput:
        epoch = prepared.step // self.steps_per_epoch
        if epoch // self.config.refresh_epochs != self._round:
            self._refresh()
            self._round = epoch // self.config.refresh_epochs
        augment = compose(self._strengthened(epoch))
        scans = [
            augment.apply(LabelledScan(frame_id=scan.frame_id, points=scan.points, truth=self._truth(scan)), rng)
            for scan, rng in prepared.samples
        ]
        count, device = len(scans), self.setup.device
        return StepInput(
            frame_ids=tuple(scan.frame_id for scan in scans),
            scans=tuple(torch.from_numpy(scan.points).to(device) for scan in scans),
            truths=tuple(in_range(scan.truth, self.setup.range_m) for scan in scans),
            terms=(TermSelection(),) * count,
            weights=(1 / count,) * count,
            seed=(self.setup.run.seed, prepared.step),
            places=self.places(count),
        )

    def _truth(self, scan: LabelledScan) -> Truth:
        return self._memory[scan.frame_id].truth

    def _strengthened(self, epoch: int) -> AugmentationConfig:
        times = sum(epoch >= start for start in self.config.curriculum)
        return self.config.augmentation.strengthened(self.config.growth**times) if times else self.config.augmentation

    @torch.no_grad()
    def _refresh(self) -> None:
        """Label every frame anew with the present detector, and join that with what was known."""
        detector = self.setup.detector
        detector.eval()
        for frame_id in self._frames.frame_ids:
            points = torch.from_numpy(self._frames.scan(frame_id).points).to(self.setup.device)
            (candidates,) = detector.candidates(detector.extract_batch([points]))
            new = Remembered.fresh(*choose_scored(candidates, self.config.pseudo_labels))
            old = self._memory.get(frame_id) if self.config.has_memory else None
            self._memory[frame_id] = new if old is None else merge(old, new, self.config.memory)
        self._telemetry = self._measured()

    def after_step(self, step: int) -> Mapping[str, float]:
        return self._telemetry

    def _measured(self) -> dict[str, float]:
        """Means over all frames of the target; the memory is the same in every process."""
        known = [(found.truth, found.scores) for found in self._memory.values()]
        counts = [int((~truth.is_ignored).sum()) for truth, _ in known]
        total = sum(len(truth) for truth, _ in known)
        scores = sum(float(scores[~truth.is_ignored].sum()) for truth, scores in known)
        return {
            "pseudo/boxes": sum(counts) / len(known),
            "pseudo/ignored": (total - sum(counts)) / len(known),
            "pseudo/scenes_without": sum(len(truth) == 0 for truth, _ in known) / len(known),
        } | ({"pseudo/score": scores / sum(counts)} if sum(counts) else {})

    def state(self) -> dict[str, Any]:
        memory = {
            frame_id: {
                "boxes": torch.from_numpy(found.truth.boxes.copy()),
                "labels": torch.from_numpy(found.truth.labels.copy()),
                "is_ignored": torch.from_numpy(found.truth.is_ignored.copy()),
                "scores": torch.from_numpy(found.scores.copy()),
                "misses": torch.from_numpy(found.misses.copy()),
            }
            for frame_id, found in self._memory.items()
        }
        return {"memory": memory, "round": self._round}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._round = int(state["round"])
        self._memory = {frame_id: _remembered(arrays) for frame_id, arrays in state["memory"].items()}
        self._telemetry = self._measured() if self._memory else {}


def _remembered(tensors: Mapping[str, torch.Tensor]) -> Remembered:
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    truth = Truth(
        boxes=arrays["boxes"],
        labels=arrays["labels"],
        is_ignored=arrays["is_ignored"],
        is_exact=np.zeros(len(arrays["labels"]), dtype=bool),
    )
    return Remembered(truth=truth, scores=arrays["scores"], misses=arrays["misses"])
