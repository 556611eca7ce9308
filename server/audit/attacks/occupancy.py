"""Occupancy attack: which cells were occupied, scale by scale down to the voxels, then where in each voxel.

In the spirit of ConcreTizer (Kim, Hwang, Kim, Bahk, ICLR 2025; only its abstract was at hand, so all details are this
project's). It needs a store of payloads and scans of the attacker's own, and no weights of the backbone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, final

import numpy as np
import torch
from torch import Tensor

from server.audit.attack import Reconstruction, ReconstructionAttack, Spent, Workbench
from server.audit.networks.fitting import Fit, fit, seed_of
from server.audit.networks.occupancy_decoder import OccupancyDecoder, OccupancyDecoderConfig
from server.audit.networks.occupancy_loss import occupancy_loss
from server.audit.networks.occupancy_search import SparseGuess, search, spreads
from server.audit.networks.own_scenes import OwnScene, channel_scale, part_for_calibration, read_own_scenes
from server.audit.networks.payload_reader import PayloadReader
from server.audit.networks.thresholds import Guess, best_threshold
from server.audit.threat import Ability, AttackerView
from server.training.optimiser import OptimiserConfig
from shared_models.errors import InvalidValueError
from shared_models.records import GridFeatures, check
from shared_models.sparse import create_engine

# Points per scene that are tried, as multiples of the occupied voxels of the attacker's scenes.
TRIED: Final = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class OccupancyConfig:
    """Training of the occupancy decoder.

    decoder: its size.
    steps: of training, one scene each, at most the threat's budget; 0: all of it.
    learning_rate: at the top of the one-cycle schedule.
    positive_weight: of an occupied cell in the cross-entropy.
    spread: cells that a scale passes on at most, as a multiple of those that are active in the attacker's own scenes;
        while training, multiples between 1 and twice as far are drawn.
    calibration_share: of the attacker's scenes, kept from training to choose thresholds on.
    calibration_scenes: of those, as many as are used at most.
    threshold_m: the distance whose F-score the last threshold is chosen for, metres.
    """

    decoder: OccupancyDecoderConfig = field(default_factory=OccupancyDecoderConfig)
    steps: int = 0
    learning_rate: float = 3e-3
    positive_weight: float = 1.5
    spread: float = 1.5
    calibration_share: float = 0.1
    calibration_scenes: int = 6
    threshold_m: float = 0.2

    def __post_init__(self) -> None:
        check.count("OccupancyConfig", "steps", self.steps, 10**8, 0)
        check.number("OccupancyConfig", "learning_rate", self.learning_rate, 1e-9, 1)
        check.number("OccupancyConfig", "positive_weight", self.positive_weight, 1e-3, 1e3)
        check.number("OccupancyConfig", "spread", self.spread, 1, 10)
        check.number("OccupancyConfig", "calibration_share", self.calibration_share, 0, 0.9)
        check.count("OccupancyConfig", "calibration_scenes", self.calibration_scenes, 1000)
        check.number("OccupancyConfig", "threshold_m", self.threshold_m, 1e-3, 10)


@final
class Occupancy(ReconstructionAttack):
    """Sparse generative decoder from any layer of the 3D backbone."""

    name = "occupancy"
    needs = frozenset({Ability.PAIRED})
    config_class = OccupancyConfig
    config: OccupancyConfig
    last_fit: Fit | None = None
    _reader: PayloadReader | None = None
    _decoder: OccupancyDecoder | None = None
    _most: tuple[float, ...] = ()
    _threshold: float = 0.0

    def prepare(self, view: AttackerView, bench: Workbench) -> None:
        pairs, geometry = view.own_scenes(), view.geometry
        reader = PayloadReader.for_layer([pair.payload for pair in pairs], geometry.split_layer, self.name)
        learned, held_out = part_for_calibration(
            read_own_scenes(pairs, geometry, reader), self.config.calibration_share, self.name
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of(bench.seed, "weights"))
            decoder = OccupancyDecoder(geometry, reader.channels, self.config.decoder, create_engine())
        decoder.scale.copy_(channel_scale(learned))
        decoder.position.learn([scene.points for scene in learned])
        decoder.to(bench.device)
        self.last_fit = fit(
            decoder,
            lambda generator: self._loss(decoder, learned, generator),
            OptimiserConfig(learning_rate=self.config.learning_rate),
            steps=view.budget.steps_of(self.config.steps),
            seconds=view.budget.seconds,
            identity=f"{self.config} {reader} seed {bench.seed}",
            bench=bench,
        )
        self._reader, self._decoder = reader, decoder
        self._most = tuple(self.config.spread * each for each in spreads(decoder, learned))
        self._choose_threshold(held_out[: self.config.calibration_scenes])

    def reconstruct(self, payload: bytes) -> Reconstruction:
        if self._reader is None:
            raise InvalidValueError("occupancy: prepare it before it reconstructs")
        found = self._search(self._reader.read(payload))
        kept = found.logits >= self._threshold
        assert self._decoder is not None
        return Reconstruction(
            points=found.points[kept].numpy(),
            confidence=torch.sigmoid(found.logits[kept]).numpy(),
            cells=found.cells[kept].flip(1).long().numpy(),
            cell_size_m=self._decoder.position.voxel_size_m,
        )

    def spent(self) -> Spent:
        fitted = self.last_fit
        return Spent() if fitted is None else Spent(steps=fitted.steps, is_cut=fitted.is_cut)

    def _loss(self, decoder: OccupancyDecoder, scenes: list[OwnScene], generator: torch.Generator) -> Tensor:
        scene = scenes[int(torch.randint(len(scenes), (1,), generator=generator))]
        return occupancy_loss(decoder, scene, self.config.positive_weight, 2 * self.config.spread - 1, generator)

    @torch.no_grad()
    def _search(self, grid: GridFeatures) -> SparseGuess:
        assert self._decoder is not None
        return search(self._decoder, grid, self._most)

    def _choose_threshold(self, scenes: list[OwnScene]) -> None:
        """The number of points that restores `scenes` best, as a threshold."""
        assert self._decoder is not None
        guesses = []
        for scene in scenes:
            found = self._search(scene.grid)
            guesses.append(Guess(points=found.points.numpy(), sureness=found.logits.numpy(), truth=scene.points))
        voxels = float(np.mean([len(scene.voxels.sites) for scene in scenes]))
        counts = [share * voxels for share in TRIED]
        geometry = self._decoder.position.geometry
        self._threshold, _ = best_threshold(guesses, self.config.threshold_m, geometry, counts)
