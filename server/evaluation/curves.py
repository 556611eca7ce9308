"""From counts at every score threshold to average precision: KITTI's 11 and 40 recall points, and all points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from server.evaluation.pooled import Floats
from shared_models.records import check

RECALL_STEPS: Final = 40  # KITTI samples recall at 0, 1/40, ..., 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Counts at every score threshold; T = 0 where nothing was detected.

    scores: (T,) thresholds, descending; detections of at least this score count.
    hits: (T,) labelled objects that were found.
    false_alarms: (T,) detections without an object.
    credit: (T,) what the found objects count for: 1 each, or their orientation's similarity, 0 to 1.
    objects: labelled objects that count.
    """

    scores: Floats
    hits: Floats
    false_alarms: Floats
    credit: Floats
    objects: int

    def __post_init__(self) -> None:
        for field in ("hits", "false_alarms", "credit"):
            check.shape("Curve", field, getattr(self, field), (len(self.scores),))

    @property
    def recall(self) -> Floats:
        """(T,) share of the objects that is found; NaN where none counts."""
        return self.hits / self.objects if self.objects else np.full(len(self.hits), np.nan)

    @property
    def precision(self) -> Floats:
        """(T,) credit per counted detection, 0 where none counts."""
        counted = self.hits + self.false_alarms
        precision: Floats = np.divide(self.credit, counted, out=np.zeros_like(counted), where=counted > 0)
        return precision

    @property
    def has_ap(self) -> bool:
        """Whether any object counts, and the credit of each is known."""
        return self.objects > 0 and not np.isnan(self.credit).any()

    def best_threshold(self) -> int | None:
        """Place of the threshold with the largest F1 = 2 TP / (2 TP + FP + FN), the highest such; None without any."""
        if len(self.scores) == 0 or self.objects == 0:
            return None
        return int(np.argmax(2 * self.hits / (self.hits + self.false_alarms + self.objects)))


def recall_thresholds(hit_scores: Floats, objects: int) -> Floats:
    """The scores, at most 41, at which KITTI samples the curve: those that come nearest to recall 0, 1/40, ..., 1.

    hit_scores: scores of the found objects. objects: labelled objects that count.

    Source: `getThresholds` in KITTI's development kit. The k-th score is passed over while the one after it is nearer
    to the recall that is sought, so n objects fill at most n of the 41 places.
    """
    scores = -np.sort(-hit_scores)
    recall = np.arange(1, len(scores) + 1) / objects if objects else np.empty(0)
    here, after = recall[:-1], recall[1:]
    places: list[int] = []
    wanted = 0.0
    for _ in range(RECALL_STEPS + 1):
        begin = places[-1] + 1 if places else 0
        if begin >= len(scores):
            break
        # The condition is false from some place on, so counting where it holds finds the first place that stays.
        places.append(max(begin, int(np.count_nonzero(after - wanted < wanted - here))))
        wanted += 1.0 / RECALL_STEPS
    return scores[places]


def sampled_ap(curve: Curve, thresholds: Floats) -> tuple[float, float]:
    """AP at 11 and at 40 recall points, in percent; NaN where no object counts or a credit is unknown.

    thresholds: of `recall_thresholds`. AP at 11 points takes every fourth sample from recall 0 on (0, 0.1, ..., 1);
    at 40 points every sample but the one at recall 0 (A. Simonelli et al., "Disentangling Monocular 3D Object
    Detection", ICCV 2019).
    """
    if not curve.has_ap:
        return float("nan"), float("nan")
    samples = np.zeros(RECALL_STEPS + 1)
    samples[: len(thresholds)] = curve.precision[np.searchsorted(-curve.scores, -thresholds)]
    samples = best_from_here_on(samples)
    return 100 * float(samples[::4].mean()), 100 * float(samples[1:].mean())


def all_point_ap(curve: Curve) -> float:
    """AP with every detection's score as a threshold, in percent; NaN as in `sampled_ap`.

    The area under the highest precision reached at this recall or a larger one, over recall 0 to 1 (as PASCAL VOC
    since 2010). Unlike the sampled ones it is not capped where objects are few.
    """
    if not curve.has_ap:
        return float("nan")
    order = np.argsort(curve.recall, kind="stable")  # a lower threshold may, rarely, find fewer objects
    steps = np.diff(curve.recall[order], prepend=0.0)
    return 100 * float(steps @ best_from_here_on(curve.precision[order]))


def best_from_here_on(values: Floats) -> Floats:
    """At each place the largest value from there to the end."""
    return np.maximum.accumulate(values[::-1])[::-1]
