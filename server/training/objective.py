"""The interface of training objectives: what a detector's answers to a batch of scenes cost."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from server.training.samples import Truth
from shared_models.detectors.anchor_detector import AnchorDetector
from shared_models.detectors.batch_input import BatchInput
from shared_models.errors import InvalidValueError
from shared_models.records import check

Matches = Literal["all", "exact_and_background", "none"]
Boxes = Literal["all", "exact", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TermSelection:
    """Which loss terms a scene has, and on which matches; the defaults are those of an annotated scene.

    Pseudo labels can be wrong: a classification loss on all of them makes detectors collapse (UpCycling, supplement,
    Table 4). "all" takes every match. "exact_and_background" takes matches with exact boxes and sure background only:
    what touches no pseudo box and gets a low score from the detector itself. "exact" takes matches with exact boxes.

    classification: class scores of anchors. box: their boxes. direction: their direction bins.
    roi_iou: the second stage's score. roi_box: its boxes (PV-RCNN, with the corner term).
    points: scores of keypoints (PV-RCNN).
    background_score: a probability; background scored at or above it is not sure. The default is the score below which
        no detection is ever reported.
    """

    classification: Matches = "all"
    box: Boxes = "all"
    direction: Boxes = "all"
    roi_iou: Matches = "all"
    roi_box: Boxes = "all"
    points: Matches = "all"
    background_score: float = 0.1

    def __post_init__(self) -> None:
        choices = dict.fromkeys(("classification", "roi_iou", "points"), get_args(Matches))
        choices |= dict.fromkeys(("box", "direction", "roi_box"), get_args(Boxes))
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise InvalidValueError(
                    f"TermSelection.{name}: expected one of {', '.join(known)}, got {getattr(self, name)!r}"
                )
        check.number("TermSelection", "background_score", self.background_score, 0, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class LossTerms:
    """Losses of a batch of B scenes.

    per_scene: name of the term to (B,) float32, weighted; each scene normalised by its own matches.
    counts: what was matched in the whole batch (positive anchors, foreground proposals, keypoints on objects).
    """

    per_scene: Mapping[str, Tensor]
    counts: Mapping[str, float]

    @property
    def terms(self) -> dict[str, Tensor]:
        """Each term's mean over the scenes, a scalar."""
        return {name: losses.mean() for name, losses in self.per_scene.items()}

    @property
    def total(self) -> Tensor:
        """The sum of all terms, a scalar."""
        return torch.stack(tuple(self.terms.values())).sum()

    def total_of(self, scenes: slice | Sequence[int]) -> Tensor:
        """As `total`, over some scenes only: the labelled or the unlabelled ones of a mixed batch."""
        return torch.stack([losses[scenes].mean() for losses in self.per_scene.values()]).sum()


class Objective(ABC):
    """Abstract: how one detector is trained. Implementations are in `server.training.objectives`.

    name: of the detector. config_class: of the configuration. detector_class: what can be trained.
    """

    name: ClassVar[str]
    config_class: ClassVar[type]
    detector_class: ClassVar[type[AnchorDetector]]

    def __init__(self, config: Any) -> None:
        self.config = config

    def loss(
        self,
        detector: AnchorDetector,
        batch: BatchInput,
        truths: Sequence[Truth],
        rngs: Sequence[np.random.Generator],
        terms: Sequence[TermSelection] | None = None,
    ) -> LossTerms:
        """Losses of the server part on a batch, all scenes going through the network together.

        Args:
            truths: of each scene.
            rngs: of each scene, draws the proposals that the second stage learns from; one for each, so that what a
                scene draws does not depend on the others of its batch.
            terms: of each scene; everything for every scene unless given.

        Raises:
            InvalidValueError: another detector than this objective's, or not one truth, generator and selection per
                scene.
        """
        terms = tuple(terms) if terms is not None else (TermSelection(),) * len(batch)
        if not isinstance(detector, self.detector_class):
            raise InvalidValueError(f"objective {self.name}: expected its detector, got a {type(detector).__name__}")
        if not len(batch) == len(truths) == len(rngs) == len(terms) or len(batch) == 0:
            raise InvalidValueError(
                f"objective {self.name}: expected a truth, a generator and a selection of terms for each scene, got "
                f"{len(batch)} scenes, {len(truths)} truths, {len(rngs)} generators, {len(terms)} selections"
            )
        return self._loss(detector, batch, truths, rngs, terms)

    @abstractmethod
    def _loss(
        self,
        detector: Any,
        batch: BatchInput,
        truths: Sequence[Truth],
        rngs: Sequence[np.random.Generator],
        terms: Sequence[TermSelection],
    ) -> LossTerms:
        """`loss` of checked arguments."""
