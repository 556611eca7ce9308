"""Evaluation as a run file asks for it: the overlaps that are wanted, one report and single numbers for curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from server.evaluation.evaluator import Progress, run_detector, suited_config
from server.evaluation.kitti import evaluate_kitti
from server.evaluation.kitti_config import LOOSE, ClassRule
from server.evaluation.kitti_report import KittiReport
from server.evaluation.objects import EvaluatedFrame
from shared_models.dataset import Dataset
from shared_models.detector import Detector
from shared_models.errors import InvalidValueError

OVERLAPS: Final = ("strict", "loose")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEvaluationConfig:
    """overlaps: "strict" is KITTI's (car 0.7, others 0.5), "loose" 0.5 and 0.25 from above and in space."""

    overlaps: tuple[str, ...] = OVERLAPS

    def __post_init__(self) -> None:
        if not self.overlaps or not set(self.overlaps) <= set(OVERLAPS):
            raise InvalidValueError(
                f"RunEvaluationConfig.overlaps: expected some of {', '.join(OVERLAPS)}, got {self.overlaps}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEvaluation:
    """reports: by overlap. frames: what they are about."""

    reports: Mapping[str, KittiReport]
    frames: Sequence[EvaluatedFrame]

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON: number of frames, and each overlap's report."""
        return {"frames": len(self.frames)} | {name: report.to_dict() for name, report in self.reports.items()}

    def numbers(self) -> dict[str, float]:
        """All-point AP by name, as in "ap_all/strict/car/3d/moderate"; those without objects are left out."""
        return {
            f"ap_all/{overlap}/{score.class_name.casefold()}/{score.metric}/{score.difficulty}": score.ap_all
            for overlap, report in self.reports.items()
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
) -> RunEvaluation:
    """`detector` on these labelled frames. Raises as `run_detector`."""
    frames = run_detector(detector, dataset, frame_ids, class_map, progress)
    suited = suited_config(frames, detector.class_names)
    loose = {rule.name.casefold(): rule for rule in LOOSE}
    classes = {
        "strict": suited.classes,
        "loose": tuple(loose.get(rule.name.casefold(), _loosened(rule)) for rule in suited.classes),
    }
    reports = {name: evaluate_kitti(frames, replace(suited, classes=classes[name])) for name in config.overlaps}
    return RunEvaluation(reports=reports, frames=frames)


def _loosened(rule: ClassRule) -> ClassRule:
    return replace(rule, bev_iou=0.5, volume_iou=0.5)
