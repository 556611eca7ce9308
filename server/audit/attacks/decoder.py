"""The paper's own attack: a dense decoder that regresses the grid of voxel means (supplement A.4, Tables 5 to 7).

The baseline that the paper's claim rests on, and a weak one: nearly all of its target is zero. What the supplement
leaves open is chosen as follows.
- Loss: mean squared error over all voxels of random windows around an occupied one, not over whole maps, whose
  activations take 369 MB each. Inside its window the decoder's output is the same as on the whole map. One voxel in a
  hundred is occupied, and weighs `occupied_weight` times as much as an empty one: which voxels the decoder holds the
  likelier ones stays what it would be in the end, but it is learned in fewer steps.
- Optimiser: Adam with a one-cycle schedule, not at a constant 0.001.
- Input: features divided by one number, so that their root mean square is 1.
- Target: a voxel's mean as seen from a corner one voxel away from the voxel's centre, in voxels (`positions =
  "voxel"`), or as seen from the sensor, in units of 10 m ("metres"). Both say the same. But L2 weighs an occupied voxel
  by its squared distance from where it is seen from, and a convolution, which does not know where it is, has to learn
  where each voxel lies from the features. In metres, short trainings hardly get beyond "all is empty".
- From numbers to points: a voxel is taken for occupied where the prediction, projected on that of the voxel's centre,
  is long enough: either half as long, or longer than a threshold chosen on scenes of the attacker's own that it was not
  trained on. The latter is the default and much the stronger. The point is the prediction without its shrinkage towards
  zero, and never outside its voxel.
- Where nothing is active in all that a part of the scene depends on, nothing is taken for occupied.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, final

import numpy as np
import torch
from torch import Tensor

from server.audit.attack import Reconstruction, ReconstructionAttack, Spent, Workbench
from server.audit.networks.dense_restoring import DenseRestorer, Positions, initialise
from server.audit.networks.fitting import Fit, fit, seed_of
from server.audit.networks.own_scenes import OwnScene, channel_scale, part_for_calibration, read_own_scenes
from server.audit.networks.paper_decoder import PaperDecoder
from server.audit.networks.payload_reader import PayloadReader
from server.audit.networks.thresholds import Guess, best_threshold
from server.audit.threat import Ability, AttackerView
from server.training.optimiser import OptimiserConfig
from shared_models.errors import InvalidValueError
from shared_models.records import check

# Points per scene that are tried, as multiples of the occupied voxels of the attacker's scenes.
TRIED: Final = (0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
HALF: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderConfig:
    """Training of the paper's decoder.

    steps: of training, at most the threat's budget; 0: all of it.
    windows: windows per step, each from a scene of its own.
    window_cells: side of a window, in voxels.
    tile_cells: side of the parts in which a scene is restored, in voxels; larger ones take less time and more memory.
    learning_rate: at the top of the one-cycle schedule.
    occupied_weight: of an occupied voxel in the squared error, an empty one has 1.
    calibration_share: of the attacker's scenes, kept from training to choose the threshold on.
    calibration_scenes: of those, as many as are used at most.
    threshold_m: the distance whose F-score the threshold is chosen for, metres.
    rule: what makes a voxel occupied: "calibrated" the chosen threshold, "half" half of the centre's length.
    positions: where a voxel's mean is seen from: "voxel" beside the voxel, "metres" the sensor.
    """

    steps: int = 0
    windows: int = 1
    window_cells: int = 48
    tile_cells: int = 64
    learning_rate: float = 2e-3
    occupied_weight: float = 10.0
    calibration_share: float = 0.1
    calibration_scenes: int = 3
    threshold_m: float = 0.2
    rule: Literal["calibrated", "half"] = "calibrated"
    positions: Positions = "voxel"

    def __post_init__(self) -> None:
        check.count("DecoderConfig", "steps", self.steps, 10**8, 0)
        check.count("DecoderConfig", "windows", self.windows, 256)
        check.count("DecoderConfig", "window_cells", self.window_cells, 2048, 4)
        check.count("DecoderConfig", "tile_cells", self.tile_cells, 2048, 4)
        check.number("DecoderConfig", "learning_rate", self.learning_rate, 1e-9, 1)
        check.number("DecoderConfig", "occupied_weight", self.occupied_weight, 1e-3, 1e6)
        check.number("DecoderConfig", "calibration_share", self.calibration_share, 0, 0.9)
        check.count("DecoderConfig", "calibration_scenes", self.calibration_scenes, 1000)
        check.number("DecoderConfig", "threshold_m", self.threshold_m, 1e-3, 10)


@final
class Decoder(ReconstructionAttack):
    """Regression of voxel means from conv1, conv3 or conv_out."""

    name = "decoder"
    needs = frozenset({Ability.PAIRED})
    config_class = DecoderConfig
    config: DecoderConfig
    last_fit: Fit | None = None
    _reader: PayloadReader | None = None
    _restorer: DenseRestorer | None = None
    _most: int = 0
    _threshold: float = 0.0

    def prepare(self, view: AttackerView, bench: Workbench) -> None:
        pairs, layer = view.own_scenes(), view.geometry.split_layer
        reader = PayloadReader.for_layer([pair.payload for pair in pairs], layer, self.name)
        learned, held_out = part_for_calibration(
            read_own_scenes(pairs, view.geometry, reader), self.config.calibration_share, self.name
        )
        network = PaperDecoder(layer, reader.channels)
        initialise(network, seed_of(bench.seed, "weights"))
        restorer = DenseRestorer(
            geometry=view.geometry,
            network=network.to(bench.device),
            scale=float(channel_scale(learned).square().mean().sqrt()),
            positions=self.config.positions,
        )
        self.last_fit = fit(
            network,
            lambda generator: self._loss(restorer, learned, generator),
            OptimiserConfig(learning_rate=self.config.learning_rate, weight_decay=0.0),
            steps=view.budget.steps_of(self.config.steps),
            seconds=view.budget.seconds,
            identity=f"{self.config} {reader} seed {bench.seed}",
            bench=bench,
        )
        self._reader, self._restorer = reader, restorer
        self._choose_threshold(held_out[: self.config.calibration_scenes])

    def reconstruct(self, payload: bytes) -> Reconstruction:
        if self._reader is None or self._restorer is None:
            raise InvalidValueError("decoder: prepare it before it reconstructs")
        found = self._restorer.restore(self._reader.read(payload), self.config.tile_cells, self._most)
        is_half = self.config.rule == "half"
        kept = found.lengths >= HALF if is_half else found.sureness >= self._threshold
        return Reconstruction(
            points=found.points[kept].numpy(),
            confidence=found.sureness[kept].clamp(0, 1).numpy(),
            cells=found.cells[kept].flip(1).numpy(),
            cell_size_m=self._restorer.geometry.voxel_size_m,
        )

    def spent(self) -> Spent:
        fitted = self.last_fit
        return Spent() if fitted is None else Spent(steps=fitted.steps, is_cut=fitted.is_cut)

    def _loss(self, restorer: DenseRestorer, scenes: list[OwnScene], generator: torch.Generator) -> Tensor:
        count = self.config.windows
        drawn = torch.randint(len(scenes), (count,), generator=generator).tolist()
        side, weight = self.config.window_cells, self.config.occupied_weight
        losses = [restorer.loss(scenes[index], side, generator, weight) for index in drawn]
        return torch.stack(losses).mean()

    def _choose_threshold(self, scenes: list[OwnScene]) -> None:
        """The number of points that restores `scenes` best, as a threshold."""
        assert self._restorer is not None
        voxels = float(np.mean([len(scene.voxels.sites) for scene in scenes]))
        self._most = max(1, round(TRIED[-1] * voxels))
        guesses = []
        for scene in scenes:
            found = self._restorer.restore(scene.grid, self.config.tile_cells, self._most)
            guesses.append(Guess(points=found.points.numpy(), sureness=found.sureness.numpy(), truth=scene.points))
        counts = [share * voxels for share in TRIED]
        self._threshold, _ = best_threshold(guesses, self.config.threshold_m, self._restorer.geometry, counts)
