"""AP of each class on frames drawn again and again from the same ones, for comparing detectors with each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from server.evaluation.evaluator import suited_config
from server.evaluation.kitti import evaluate_kitti
from server.evaluation.objects import EvaluatedFrame
from server.evaluation.run_evaluation import rules_of_overlap

_DIFFICULTY = ("moderate", "all")  # where every frame has a camera, and where not


class FrameScores:
    """All-point AP of what one detector found in some frames."""

    def __init__(
        self, frames: Sequence[EvaluatedFrame], class_names: Sequence[str], metric: str = "3d", overlap: str = "strict"
    ) -> None:
        """metric: "3d" or "bev". overlap: as `RunEvaluationConfig.overlaps`. Objects of moderate difficulty count."""
        self._frames = tuple(replace(frame, found=None) for frame in frames)
        suited = suited_config(self._frames, class_names)
        self._config = replace(
            suited,
            classes=rules_of_overlap(suited.classes)[overlap],
            difficulties=tuple(each for each in suited.difficulties if each.name in _DIFFICULTY),
            metrics=(metric,),
            distance_edges_m=(),
            few_objects=0,
        )

    def __len__(self) -> int:
        return len(self._frames)

    def __call__(self, rows: NDArray[np.int64]) -> dict[str, float]:
        """AP in percent by class on these frames, each as often as its number stands in `rows`; NaN without objects."""
        drawn = [replace(self._frames[row], frame_id=f"draw-{place}") for place, row in enumerate(rows.tolist())]
        report = evaluate_kitti(drawn, self._config)
        return {score.class_name: score.ap_all for score in report.scores if score.metric in self._config.metrics}
