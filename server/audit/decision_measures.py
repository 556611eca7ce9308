"""Measures of attacks that answer a question instead of giving back a scan: places, membership, properties."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from scipy.stats import rankdata

from shared_models.errors import InvalidValueError


def recall_at(
    descriptors: NDArray[np.floating], places: Sequence[str], drives: Sequence[str], ks: Sequence[int] = (1, 5)
) -> dict[int, float]:
    """R@k = share of queries with a scene of the same place among the k nearest scenes of other drives.

    Every scene is a query; those whose place no other drive has been at are left out.

    descriptors: (S, D), compared by Euclidean distance; of equal distances the earlier scene is nearer.

    Raises:
        InvalidValueError: no place was visited by two drives.
    """
    place, drive = np.asarray(places), np.asarray(drives)
    is_candidate = drive[:, None] != drive[None, :]
    is_match = is_candidate & (place[:, None] == place[None, :])
    queries = np.flatnonzero(is_match.any(1))
    if len(queries) == 0:
        raise InvalidValueError("place recognition: expected places that at least two drives visited, got none")
    distances = np.where(is_candidate, cdist(descriptors, descriptors), np.inf)[queries]
    order = np.argsort(distances, axis=1, kind="stable")
    hits = np.take_along_axis(is_match[queries], order, 1)
    return {k: float(hits[:, :k].any(1).mean()) for k in ks}


def recall_at_chance(places: Sequence[str], drives: Sequence[str], ks: Sequence[int] = (1, 5)) -> dict[int, float]:
    """R@k of a random order: per query 1 - C(n - m, k) / C(n, k) for n candidates of which m are of its place."""
    place, drive = np.asarray(places), np.asarray(drives)
    is_candidate = drive[:, None] != drive[None, :]
    candidates = is_candidate.sum(1)
    matches = (is_candidate & (place[:, None] == place[None, :])).sum(1)
    chances = {k: [_hit_chance(n, m, k) for n, m in zip(candidates, matches, strict=True) if m] for k in ks}
    return {k: float(np.mean(each)) if each else 0.0 for k, each in chances.items()}


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
