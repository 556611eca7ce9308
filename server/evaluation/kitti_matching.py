"""Who is matched to whom: KITTI's greedy matching of all frames, and at every score threshold, at once.

Objects that overlap, directly or through others, form a group; no matching reaches from one group into another. A group
has a handful of members, so its matching is worked out once for every threshold at which it can change: each of its
detections' scores. A match then holds over a range of thresholds, and any count at every threshold is a running sum.
Source of the rules: A. Geiger et al., "Are we ready for autonomous driving?", CVPR 2012, development kit,
`evaluate_object.cpp`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from server.evaluation.pooled import Floats, Integers, Overlaps, pairs_within_groups

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenarios:
    """Pairs that may be matched when only detections with at least a certain score count; one scenario a detection.

    scenario: (P,) row in the pool of the detection whose score is the threshold.
    turn: (P,) how many labelled objects of the group choose before this pair's one does.
    truth, detection, iou: (P,) as in `Overlaps`.
    """

    scenario: Integers
    turn: Integers
    truth: Integers
    detection: Integers
    iou: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdMatches:
    """Every match, with the thresholds at which it holds.

    scores: (T,) the thresholds, each score that occurs, descending; at one, detections of at least this score count.
    truth, detection: (E,) rows in the pool.
    start, stop: (E,) the match holds at scores[start:stop].
    """

    scores: Floats
    truth: Integers
    detection: Integers
    start: Integers
    stop: Integers

    def sums(self, weights: NDArray[np.generic]) -> Floats:
        """(T,) at each threshold the sum over the matches that hold there. weights: (E,)."""
        size = len(self.scores) + 1
        exact = weights.astype(np.float64)
        change = np.bincount(self.start, exact, size) - np.bincount(self.stop, exact, size)
        return np.cumsum(change, dtype=np.float64)[:-1]

    def holding_at(self, threshold: int) -> Mask:
        """(E,) which matches hold at scores[threshold]."""
        return (self.start <= threshold) & (threshold < self.stop)


Choice = Callable[[Scenarios], Mask]


def group_pairs(pairs: Overlaps) -> tuple[Integers, Integers]:
    """(P,) number of each pair's group, and (P,) turn of its labelled object: its place among the group's objects."""
    if len(pairs.truth) == 0:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    truths, truth_node = np.unique(pairs.truth, return_inverse=True)
    detections, detection_node = np.unique(pairs.detection, return_inverse=True)
    size = len(truths) + len(detections)
    edges = (np.ones(len(truth_node)), (truth_node, detection_node + len(truths)))
    group = connected_components(coo_array(edges, shape=(size, size)), directed=False)[1].astype(np.int64)
    of_truth = group[: len(truths)]
    order = np.argsort(of_truth, kind="stable")
    turn = np.empty(len(truths), dtype=np.int64)
    turn[order] = np.arange(len(truths)) - np.searchsorted(of_truth[order], of_truth[order])
    return of_truth[truth_node], turn[truth_node]


def match_by_score(pairs: Overlaps, scores: Floats) -> tuple[Integers, Integers]:
    """KITTI's first pass: each labelled object takes the free detection with the highest score.

    scores: (D,) of all detections. Gives rows (E,) of the matched labelled and detected objects.
    """
    _, turn = group_pairs(pairs)
    order = np.lexsort((pairs.detection, -scores[pairs.detection], pairs.truth, turn))
    taken = _first_free(turn[order], pairs.truth[order], pairs.detection[order])
    chosen = order[taken]
    return pairs.truth[chosen], pairs.detection[chosen]


def match_by_overlap(is_ignored: Mask) -> Choice:
    """KITTI's second pass: each labelled object takes the free detection that overlaps it most.

    is_ignored: (D,) detections that are taken only where no other is free, the first of them.
    """

    def choose(pairs: Scenarios) -> Mask:
        preference = np.where(is_ignored[pairs.detection], 0.0, -pairs.iou)
        order = np.lexsort((pairs.detection, preference, pairs.scenario, pairs.turn))
        _, slots = np.unique(pairs.scenario * len(is_ignored) + pairs.detection, return_inverse=True)
        taken = _first_free(pairs.turn[order], pairs.scenario[order], slots[order])
        chosen = np.zeros(len(order), dtype=bool)
        chosen[order[taken]] = True
        return chosen

    return choose


def match_at_every_threshold(pairs: Overlaps, scores: Floats, is_used: Mask, choose: Choice) -> ThresholdMatches:
    """The matches of every threshold.

    pairs: that may be matched. scores: (D,) of all detections. is_used: (D,) detections whose scores are thresholds.
    choose: marks the matched pairs of each scenario.
    """
    thresholds = -np.unique(-scores[is_used])
    place = np.searchsorted(-thresholds, -scores)
    next_place = np.full(len(scores), len(thresholds))
    empty = np.empty(0, dtype=np.int64)
    truths, detections, scenarios = [empty], [empty], [empty]
    for part in _scenarios(pairs, scores, place, next_place):
        chosen = choose(part)
        truths.append(part.truth[chosen])
        detections.append(part.detection[chosen])
        scenarios.append(part.scenario[chosen])
    scenario = np.concatenate(scenarios)
    return ThresholdMatches(
        scores=thresholds,
        truth=np.concatenate(truths),
        detection=np.concatenate(detections),
        start=place[scenario],
        stop=next_place[scenario],
    )


def _scenarios(pairs: Overlaps, scores: Floats, place: Integers, next_place: Integers) -> Iterator[Scenarios]:
    """The scenarios of all groups; writes into `next_place` where the next scenario of the same group begins."""
    group, turn = group_pairs(pairs)
    order = np.argsort(group, kind="stable")
    by_group, turn = pairs.chosen(order), turn[order]
    group = group[order]
    members, first = np.unique(by_group.detection, return_index=True)
    own = group[first]
    falling = np.lexsort((-scores[members], own))
    members, own = members[falling], own[falling]
    has_next = own[1:] == own[:-1]
    next_place[members[:-1][has_next]] = place[members[1:][has_next]]
    for member, pair in pairs_within_groups(own, group):
        counts = scores[by_group.detection[pair]] >= scores[members[member]]
        member, pair = member[counts], pair[counts]
        yield Scenarios(
            scenario=members[member],
            turn=turn[pair],
            truth=by_group.truth[pair],
            detection=by_group.detection[pair],
            iou=by_group.iou[pair],
        )


def _first_free(turn: Integers, chooser: Integers, wanted: Integers) -> Integers:
    """Rows in which each chooser takes the first wanted thing that is still free, turn after turn.

    turn, chooser, wanted: (P,), rows sorted by turn, then chooser, then preference; within a turn no two choosers want
    the same thing.
    """
    if len(turn) == 0:
        return np.empty(0, dtype=np.int64)
    is_taken = np.zeros(int(wanted.max()) + 1, dtype=bool)
    chosen = []
    for start, stop in pairwise(np.searchsorted(turn, np.arange(turn[-1] + 2)).tolist()):
        free = start + np.flatnonzero(~is_taken[wanted[start:stop]])
        is_first = np.ones(len(free), dtype=bool)
        is_first[1:] = chooser[free[1:]] != chooser[free[:-1]]
        best = free[is_first]
        is_taken[wanted[best]] = True
        chosen.append(best)
    return np.concatenate(chosen)
