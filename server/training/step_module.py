"""One training step's forward pass as one module, so that it can be distributed over processes as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from server.training.objective import Objective, TermSelection
from server.training.samples import Truth
from shared_models.detectors.anchor_detector import AnchorDetector
from shared_models.detectors.batch_input import BatchInput
from shared_models.errors import InvalidValueError

_STREAM: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class StepInput:
    """What one step learns from: S raw scans, then the stored features of further scenes.

    frame_ids: of all scenes, for messages.
    scans: S tensors (N, F) float32 in the detector's point fields, on the detector's device.
    stored: features that came from vehicles, None where the step has none.
    truths, terms, weights: of every scene; a scene's losses count `weights` times in the sum over all scenes.
    seed: of the step, the same in every process; with a scene's place it draws the proposals that the second stage
        learns from.
    places: of each scene in the step's batch of all processes together; 0, 1, 2, ... unless given.
    """

    frame_ids: tuple[str, ...]
    scans: tuple[Tensor, ...] = ()
    stored: BatchInput | None = None
    truths: tuple[Truth, ...]
    terms: tuple[TermSelection, ...]
    weights: tuple[float, ...]
    seed: tuple[int, ...] = (0,)
    places: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        count = len(self.scans) + (0 if self.stored is None else len(self.stored))
        names = ("frame_ids", "truths", "terms", "weights", *(("places",) if self.places else ()))
        given = {name: len(getattr(self, name)) for name in names}
        if count == 0 or any(length != count for length in given.values()):
            raise InvalidValueError(f"StepInput: expected one entry for each of {count} scenes, got {given}")

    def rngs(self) -> list[np.random.Generator]:
        """Each scene's own generator: what it draws does not depend on how scenes are shared out to processes."""
        # The last word sets them apart from the streams of augmentation, which end with a sample's number.
        places = self.places or range(len(self.frame_ids))
        return [np.random.default_rng((*self.seed, place, _STREAM)) for place in places]


class StepModule(nn.Module):
    """Detector and objective: from a step's scenes to its loss."""

    def __init__(self, detector: AnchorDetector, objective: Objective) -> None:
        super().__init__()
        self.detector = detector
        self.objective = objective

    def forward(self, step: StepInput) -> tuple[Tensor, dict[str, Tensor], dict[str, float]]:
        """The total, each term's share of it (detached), and what was matched."""
        batch = self._batch(step)
        losses = self.objective.loss(self.detector, batch, step.truths, step.rngs(), step.terms)
        weights = torch.tensor(step.weights, device=batch.grid.features.device)
        terms = {name: (per_scene * weights).sum() for name, per_scene in losses.per_scene.items()}
        total = torch.stack(tuple(terms.values())).sum()
        return total, {name: term.detach() for name, term in terms.items()}, dict(losses.counts)

    def _batch(self, step: StepInput) -> BatchInput:
        if not step.scans:
            assert step.stored is not None
            return step.stored
        extracted = self.detector.extract_batch(step.scans)
        return extracted if step.stored is None else extracted.joined(step.stored)
