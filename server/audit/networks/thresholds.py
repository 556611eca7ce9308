"""The threshold with which an attack restores its own held-out scenes best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from server.audit.point_measures import f_score, nearest
from shared_models.backbones.cut_geometry import CutGeometry


@dataclass(frozen=True, slots=True, kw_only=True)
class Guess:
    """Points that an attack might give back, and the scan that they should be.

    points: (M, 3) float32, metres. sureness: (M,) float32. truth: (N, 3 or more) float32, metres.
    """

    points: NDArray[np.float32]
    sureness: NDArray[np.float32]
    truth: NDArray[np.float32]


def best_threshold(
    guesses: Sequence[Guess], distance_m: float, geometry: CutGeometry, counts: Sequence[float]
) -> tuple[float, float]:
    """(threshold, mean F-score at `distance_m`) of the best one.

    counts: numbers of points per scene to try; each becomes the sureness that keeps as many on average.
    """
    pooled = np.sort(np.concatenate([guess.sureness for guess in guesses]))[::-1]
    if len(pooled) == 0:
        return 0.0, 0.0
    peak_m = float(np.linalg.norm(np.subtract(geometry.point_range_m[3:], geometry.point_range_m[:3])))
    best = (float(pooled[0]), -1.0)
    for count in counts:
        threshold = float(pooled[min(len(pooled) - 1, max(0, round(count * len(guesses)) - 1))])
        scores = [
            f_score(nearest(guess.truth, guess.points[guess.sureness >= threshold], peak_m), distance_m)
            for guess in guesses
        ]
        if np.mean(scores) > best[1]:
            best = (threshold, float(np.mean(scores)))
    return best
