"""3DIoUMatch (Wang et al., CVPR 2021) on raw scans: a mean teacher, its boxes filtered by class and predicted IoU.

The raw-level comparison of UpCycling: it needs the points of unlabelled frames. Thresholds and loss terms are those of
the published PV-RCNN code; on SECOND-IoU only the first stage's box terms, as UpCycling's authors ported it (their
supplement, Table 4).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import torch

from server.training.augmentation_chain import AugmentationConfig, compose
from server.training.augmentations.flip import FlipConfig
from server.training.labelled_data import in_range
from server.training.labelled_preparation import labelled_preparation
from server.training.objective import TermSelection
from server.training.pseudo_labels import PseudoLabelConfig, choose_scored
from server.training.pseudo_telemetry import PseudoCounts, PseudoTelemetry
from server.training.recipe import Prepared, Recipe, RecipeSetup
from server.training.samples import Truth
from server.training.sources import open_source
from server.training.step_module import StepInput
from server.training.teacher import Teacher, TeacherConfig
from server.training.two_streams import TwoStreams
from server.training.unlabelled_data import PrepareTwice, UnlabelledFrames
from shared_models.errors import ConfigError
from shared_models.records import check

# Not the second stage's score, not the keypoints': their targets would be the teacher's own mistakes.
TERMS = {
    "second_iou": TermSelection(classification="none", roi_iou="none", points="none"),
    "pv_rcnn": TermSelection(roi_iou="none", points="none"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class IouMatchConfig:
    """Settings of 3DIoUMatch.

    repeat: how often each labelled frame comes in one epoch (the published code: 5).
    unlabelled_ratio: unlabelled scans for each labelled one. unlabelled_weight: of their losses.
    teacher, pseudo_labels: settings of these parts.
    augmentation: of the student's unlabelled scans; ground-truth sampling is for labelled scans only.
    all_terms: also the first stage's class loss on SECOND-IoU, which the supplement's Table 4 shows to be harmful.
    database_min_points: as `DatabaseConfig`, for ground-truth sampling in the labelled scans.
    """

    repeat: int = 5
    unlabelled_ratio: int = 1
    unlabelled_weight: float = 1.0
    teacher: TeacherConfig = TeacherConfig()
    pseudo_labels: PseudoLabelConfig = PseudoLabelConfig()
    augmentation: AugmentationConfig = AugmentationConfig(order=("flip", "rotation", "scaling"), flip=FlipConfig())
    all_terms: bool = False
    database_min_points: int = 5

    def __post_init__(self) -> None:
        check.count("IouMatchConfig", "repeat", self.repeat, 10_000)
        check.count("IouMatchConfig", "unlabelled_ratio", self.unlabelled_ratio, 64)
        check.number("IouMatchConfig", "unlabelled_weight", self.unlabelled_weight, 0, 1000)
        check.count("IouMatchConfig", "database_min_points", self.database_min_points, 100_000)
        if self.augmentation.needs_database:
            raise ConfigError("IouMatchConfig.augmentation: ground_truth_sampling is for labelled scans only")


class IouMatch(Recipe):
    """The whole detector is trained, from the points on."""

    name = "iou_match"
    config_class = IouMatchConfig
    config: IouMatchConfig

    def __init__(self, setup: RecipeSetup, config: IouMatchConfig) -> None:
        super().__init__(setup, config)
        run, frames, detector = setup.run, setup.labelled, setup.detector
        if run.data.unlabelled is None:
            raise ConfigError("recipe iou_match: data.unlabelled is missing: it names the raw unlabelled frames")
        source = open_source(run.data.unlabelled, setup.data / "cache", with_labels=False)
        raw = UnlabelledFrames(source.dataset, source.frame_ids, detector.point_fields, source.config.view)
        self._teacher = Teacher(detector, config.teacher)
        prepare_labelled = labelled_preparation(setup, config.database_min_points)
        prepare_raw = PrepareTwice(raw, compose(config.augmentation))
        self._streams = TwoStreams(
            setup, (prepare_labelled, len(frames)), (prepare_raw, len(raw)), config.repeat, config.unlabelled_ratio
        )
        terms = TERMS[detector.name]
        self._terms = replace(terms, classification="all") if config.all_terms else terms
        self._telemetry = PseudoTelemetry(setup.processes, setup.device, run.loop.log_every)

    @property
    def steps_per_epoch(self) -> int:
        return self._streams.steps_per_epoch

    @property
    def waited_s(self) -> float:
        return self._streams.waited_s

    def batches(self, steps: range) -> AbstractContextManager[Iterator[Prepared]]:
        return self._streams.batches(steps)

    def compose(self, prepared: Prepared) -> StepInput:
        labelled, raw = prepared.samples
        pseudo = self._pseudo_labels([scan for scan, _, _ in raw])
        range_m = self.setup.range_m
        carried = [
            in_range(transform.truth(truth), range_m) for truth, (_, _, transform) in zip(pseudo, raw, strict=True)
        ]
        scans = (*labelled, *(augmented for _, augmented, _ in raw))
        count, more = len(labelled), len(raw)
        device = self.setup.device
        return StepInput(
            frame_ids=tuple(scan.frame_id for scan in scans),
            scans=tuple(torch.from_numpy(scan.points).to(device) for scan in scans),
            truths=(*(scan.truth for scan in labelled), *carried),
            terms=(TermSelection(),) * count + (self._terms,) * more,
            weights=(1 / count,) * count + (self.config.unlabelled_weight / more,) * more,
            seed=(self.setup.run.seed, prepared.step),
            places=self.places(count, more),
        )

    @torch.no_grad()
    def _pseudo_labels(self, scans: list[Any]) -> list[Truth]:
        detector = self._teacher.detector
        points = [torch.from_numpy(scan.points).to(self.setup.device) for scan in scans]
        found = detector.candidates(detector.extract_batch(points))
        pseudo = [choose_scored(candidates, self.config.pseudo_labels) for candidates in found]
        for truth, scores in pseudo:
            boxes = int((~truth.is_ignored).sum())
            counts = PseudoCounts(
                without=int(len(truth) == 0),
                boxes=boxes,
                ignored=len(truth) - boxes,
                score=float(scores[~truth.is_ignored].sum()),
            )
            self._telemetry.add(counts)
        return [truth for truth, _ in pseudo]

    def after_step(self, step: int) -> Mapping[str, float]:
        self._teacher.follow(self.setup.detector, step)
        return {**self._telemetry.numbers(step), "teacher/gap": self._teacher.gap(self.setup.detector)}

    def state(self) -> dict[str, Any]:
        return {"teacher": self._teacher.state()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._teacher.load_state(state["teacher"])
