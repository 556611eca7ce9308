"""Mean object sizes of a domain, and the difference between two, for statistical normalisation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from server.training.samples import LabelledScan
from shared_models.records import check


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeStatistics:
    """Sizes of the objects of C classes.

    mean_m: (C, 3) float64 [length width height], metres; 0 for a class without objects.
    counts: (C,) int64, objects of each class.
    """

    mean_m: NDArray[np.float64]
    counts: NDArray[np.int64]

    def __post_init__(self) -> None:
        check.shape("SizeStatistics", "mean_m", self.mean_m, (len(self.counts), 3))


def size_statistics(scans: Iterable[LabelledScan], class_count: int) -> SizeStatistics:
    """The mean sizes of all objects in `scans` that count; labels are 0 to `class_count` - 1."""
    sums, counts = np.zeros((class_count, 3)), np.zeros(class_count, dtype=np.int64)
    for scan in scans:
        truth = scan.truth.chosen(~scan.truth.is_ignored)
        np.add.at(sums, truth.labels, truth.boxes[:, 3:6].astype(np.float64))
        np.add.at(counts, truth.labels, 1)
    return SizeStatistics(mean_m=sums / np.maximum(counts, 1)[:, None], counts=counts)


def size_difference(source: SizeStatistics, target: SizeStatistics) -> tuple[tuple[float, float, float], ...]:
    """Target mean - source mean per class, metres, as `StatisticalNormalisationConfig.delta_m` takes it.

    A class that one of the domains lacks keeps its size.
    """
    is_known = (source.counts > 0) & (target.counts > 0)
    delta_m = np.where(is_known[:, None], target.mean_m - source.mean_m, 0.0)
    return tuple((float(d[0]), float(d[1]), float(d[2])) for d in delta_m)
