"""Evaluation as a run file asks for it: the overlaps and rules that are wanted, and single numbers for curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from server.evaluation.evaluator import Change, Progress, run_detector, suited_config
from server.evaluation.kitti import evaluate_kitti
from server.evaluation.kitti_config import LOOSE, ClassRule, KittiEvaluationConfig
from server.evaluation.kitti_report import KittiReport
from server.evaluation.objects import EvaluatedFrame
from server.evaluation.waymo import WAYMO_CLASSES, WaymoClass, WaymoEvaluationConfig, WaymoReport, evaluate_waymo
from shared_models.dataset import Dataset
from shared_models.detector import Detector
from shared_models.errors import InvalidValueError

OVERLAPS: Final = ("strict", "loose")
RULES: Final = ("kitti", "waymo")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEvaluationConfig:
    """What is reported.

    overlaps: "strict" is KITTI's (car 0.7, others 0.5), "loose" 0.5 and 0.25 from above and in space.
    rules: "kitti" always; "waymo" adds AP and APH at LEVEL_1 and LEVEL_2.
    """

    overlaps: tuple[str, ...] = OVERLAPS
    rules: tuple[str, ...] = ("kitti",)

    def __post_init__(self) -> None:
        if not self.overlaps or not set(self.overlaps) <= set(OVERLAPS):
            raise InvalidValueError(
                f"RunEvaluationConfig.overlaps: expected some of {', '.join(OVERLAPS)}, got {self.overlaps}"
            )
        if "kitti" not in self.rules or not set(self.rules) <= set(RULES):
            raise InvalidValueError(f"RunEvaluationConfig.rules: expected kitti, or kitti and waymo, got {self.rules}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEvaluation:
    """reports: by KITTI's rules, by overlap. frames: what they are about. waymo: by Waymo's rules where wanted."""

    reports: Mapping[str, KittiReport]
    frames: Sequence[EvaluatedFrame]
    waymo: WaymoReport | None = None

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON: number of frames, each overlap's report, and "waymo" where wanted."""
        found: dict[str, Any] = {"frames": len(self.frames)}
        found |= {name: report.to_dict() for name, report in self.reports.items()}
        return found if self.waymo is None else found | {"waymo": self.waymo.to_dict()}

    def numbers(self) -> dict[str, float]:
        """All-point AP by name, as in "ap_all/strict/car/3d/moderate", and Waymo's, as in "waymo/level_1/vehicle/aph".

        Those without objects are left out.
        """
        return numbers_of(self.reports) | ({} if self.waymo is None else _waymo_numbers(self.waymo))

    @property
    def rules(self) -> dict[str, KittiEvaluationConfig]:
        """What each report was made by, by overlap."""
        return {name: report.config for name, report in self.reports.items()}


def numbers_of(reports: Mapping[str, KittiReport]) -> dict[str, float]:
    """All-point AP in percent of reports by overlap, as `RunEvaluation.numbers` names it."""
    return {
        f"ap_all/{overlap}/{score.class_name.casefold()}/{score.metric}/{score.difficulty}": score.ap_all
        for overlap, report in reports.items()
        for score in report.scores
        if score.band_m is None and score.metric in ("bev", "3d") and not math.isnan(score.ap_all)
    }


def evaluate_run(
    detector: Detector,
    dataset: Dataset,
    frame_ids: Sequence[str],
    class_map: Mapping[str, str],
    config: RunEvaluationConfig,
    progress: Progress | None = None,
    change: Change | None = None,
) -> RunEvaluation:
    """`detector` on these labelled frames. Raises as `run_detector`, and with Waymo's rules as `evaluate_waymo`."""
    frames = run_detector(detector, dataset, frame_ids, class_map, progress, change=change)
    suited = suited_config(frames, detector.class_names)
    classes = rules_of_overlap(suited.classes)
    reports = {name: evaluate_kitti(frames, replace(suited, classes=classes[name])) for name in config.overlaps}
    waymo = evaluate_waymo(frames, suited_waymo_config(detector.class_names)) if "waymo" in config.rules else None
    return RunEvaluation(reports=reports, frames=frames, waymo=waymo)


def rules_of_overlap(classes: Sequence[ClassRule]) -> dict[str, tuple[ClassRule, ...]]:
    """The rules of these classes by overlap: "strict" as they are, "loose" with LOOSE's numbers."""
    loose = {rule.name.casefold(): rule for rule in LOOSE}
    return {
        "strict": tuple(classes),
        "loose": tuple(loose.get(rule.name.casefold(), _loosened(rule)) for rule in classes),
    }


def suited_waymo_config(class_names: Sequence[str]) -> WaymoEvaluationConfig:
    """Waymo's overlaps for a detector's classes; those that Waymo does not know, a Car too, have a vehicle's."""
    known = {rule.name.casefold(): rule.min_iou for rule in WAYMO_CLASSES}
    vehicle = known["vehicle"]
    classes = tuple(WaymoClass(name=name, min_iou=known.get(name.casefold(), vehicle)) for name in class_names)
    return WaymoEvaluationConfig(classes=classes)


def _waymo_numbers(report: WaymoReport) -> dict[str, float]:
    return {
        f"waymo/{score.level}/{score.class_name.casefold()}/{name}": value
        for score in report.scores
        for name, value in (("ap", score.ap), ("aph", score.aph))
        if not math.isnan(value)
    }


def _loosened(rule: ClassRule) -> ClassRule:
    return replace(rule, bev_iou=0.5, volume_iou=0.5)
