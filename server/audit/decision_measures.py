"""Measures of attacks that answer a question instead of giving back a scan: places, membership, properties."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from scipy.stats import rankdata

from shared_models.errors import InvalidValueError


@dataclass(frozen=True, slots=True, kw_only=True)
class Visits:
    """Who is whose candidate in place recognition, and who is right.

    is_candidate: (S, S) bool, scenes of other drives. is_match: (S, S) bool, those of them that are of the same place.
    """

    is_candidate: NDArray[np.bool_]
    is_match: NDArray[np.bool_]

    @classmethod
    def of(
        cls, drives: Sequence[str], streets: Sequence[str], positions_m: NDArray[np.floating], radius_m: float
    ) -> Self:
        """Scenes of two drives along one street within `radius_m` of each other are of one place.

        positions_m: (S, 2 or 3), in one frame for each street, metres.
        """
        drive, street = np.asarray(drives), np.asarray(streets)
        is_candidate = drive[:, None] != drive[None, :]
        is_near = cdist(positions_m, positions_m) <= radius_m
        return cls(is_candidate=is_candidate, is_match=is_candidate & (street[:, None] == street[None, :]) & is_near)

    @property
    def queries(self) -> NDArray[np.int64]:
        """(Q,) scenes with a match; each of them is a query."""
        return np.flatnonzero(self.is_match.any(1))


def hits_at(descriptors: NDArray[np.floating], visits: Visits, k: int) -> NDArray[np.bool_]:
    """(Q,) whether one of the k candidates nearest to each query is a match; their mean is recall@k.

    descriptors: (S, D), compared by Euclidean distance; of equal distances the earlier scene is nearer.
    """
    queries = visits.queries
    distances = np.where(visits.is_candidate, cdist(descriptors, descriptors), np.inf)[queries]
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return np.asarray(np.take_along_axis(visits.is_match[queries], order, 1).any(1))


def hit_chances_at(visits: Visits, k: int) -> NDArray[np.float64]:
    """(Q,) chance of a match in the first k of a random order: 1 - C(n - m, k) / C(n, k), n candidates, m matches."""
    queries = visits.queries
    candidates, matches = visits.is_candidate[queries].sum(1), visits.is_match[queries].sum(1)
    return np.array([_hit_chance(int(n), int(m), k) for n, m in zip(candidates, matches, strict=True)])


def _hit_chance(candidates: int, matches: int, k: int) -> float:
    missed = 1.0
    for drawn in range(min(k, candidates)):
        missed *= max(candidates - matches - drawn, 0) / (candidates - drawn)
    return 1 - missed


def auc(members: NDArray[np.floating], others: NDArray[np.floating]) -> float:
    """Area under the ROC curve = P(score of a member > score of another) + P(equal) / 2, chance 0.5.

    Raises:
        InvalidValueError: one of the two is empty.
    """
    _require_both(members, others)
    ranks = rankdata(np.concatenate((members, others)))[: len(members)].sum()
    return float((ranks - len(members) * (len(members) + 1) / 2) / (len(members) * len(others)))


def tpr_at_fpr(members: NDArray[np.floating], others: NDArray[np.floating], fpr: float = 0.01) -> float:
    """Largest share of members above a threshold that at most `fpr` of the others are above (Carlini et al., S&P 2022).

    With fewer than 1 / fpr others that threshold is their maximum. Chance is `fpr`.

    Raises:
        InvalidValueError: one of the two is empty.
    """
    _require_both(members, others)
    allowed = int(np.floor(fpr * len(others) + 1e-9))
    threshold = np.sort(others)[::-1][allowed] if allowed < len(others) else -np.inf
    return float((members > threshold).mean())


def accuracy(predicted: Sequence[str], actual: Sequence[str]) -> tuple[float, float]:
    """(share predicted rightly, chance level = share of the most frequent value).

    Raises:
        InvalidValueError: there is nothing to predict, or other numbers of both.
    """
    if not actual or len(predicted) != len(actual):
        raise InvalidValueError(f"property: expected a prediction per scene, got {len(predicted)} for {len(actual)}")
    right = sum(p == a for p, a in zip(predicted, actual, strict=True))
    return right / len(actual), Counter(actual).most_common(1)[0][1] / len(actual)


def _require_both(members: NDArray[np.floating], others: NDArray[np.floating]) -> None:
    if len(members) == 0 or len(others) == 0:
        raise InvalidValueError(
            f"membership: expected scores of members and of others, got {len(members)} and {len(others)}"
        )
