from __future__ import annotations

import numpy as np

from server.evaluation.kitti_matching import group_pairs, match_at_every_threshold, match_by_overlap, match_by_score
from server.evaluation.pooled import Overlaps


def pairs(*rows: tuple[int, int, float]) -> Overlaps:
    truth, detection, iou = zip(*rows, strict=True)
    return Overlaps(truth=np.array(truth), detection=np.array(detection), iou=np.array(iou))


# Objects 0 and 1 share detection 0; object 1 has detection 1, too. Object 2 has detection 2 to itself.
SHARED = pairs((0, 0, 0.8), (1, 0, 0.9), (1, 1, 0.85), (2, 2, 0.75))
SCORES = np.array([0.5, 0.9, 0.7])
USED = np.ones(3, dtype=bool)
NONE_IGNORED = match_by_overlap(np.zeros(3, dtype=bool))


def test_groups_and_turns() -> None:
    group, turn = group_pairs(SHARED)
    assert group[0] == group[1] == group[2] != group[3]
    assert turn.tolist() == [0, 1, 1, 0]


def test_the_surest_detection_is_taken() -> None:
    truth, detection = match_by_score(SHARED, SCORES)
    assert dict(zip(truth.tolist(), detection.tolist(), strict=True)) == {0: 0, 1: 1, 2: 2}


def test_a_match_holds_over_a_range_of_thresholds() -> None:
    """From 0.9 on object 1 has detection 1; object 0 gets one at 0.5, object 2 at 0.7."""
    matches = match_at_every_threshold(SHARED, SCORES, USED, NONE_IGNORED)
    assert matches.scores.tolist() == [0.9, 0.7, 0.5]
    for threshold, expected in enumerate([{1: 1}, {1: 1, 2: 2}, {0: 0, 1: 1, 2: 2}]):
        holds = matches.holding_at(threshold)
        assert dict(zip(matches.truth[holds].tolist(), matches.detection[holds].tolist(), strict=True)) == expected
    assert matches.sums(np.ones(len(matches.truth))).tolist() == [1, 2, 3]


def test_the_first_object_chooses_first() -> None:
    """Object 0 takes detection 0, though object 1 overlaps it more; object 1 is left with detection 1 or nothing."""
    matches = match_at_every_threshold(SHARED, np.array([0.9, 0.2, 0.1]), USED, NONE_IGNORED)
    first = matches.holding_at(0)
    assert (matches.truth[first].tolist(), matches.detection[first].tolist()) == ([0], [0])
    assert matches.sums(np.ones(len(matches.truth))).tolist() == [1, 2, 3]


def test_ignored_detections_come_last_and_the_first_of_them_first() -> None:
    three = pairs((0, 0, 0.8), (0, 1, 0.9), (0, 2, 0.75))
    same = np.full(3, 0.5)

    def taken(*ignored: bool) -> list[int]:
        matches = match_at_every_threshold(three, same, USED, match_by_overlap(np.array(ignored)))
        return matches.detection[matches.holding_at(0)].tolist()

    assert taken(False, False, False) == [1]
    assert taken(False, True, False) == [0]
    assert taken(True, True, False) == [2]
    assert taken(True, True, True) == [0]


def test_equal_scores_are_one_threshold() -> None:
    two = pairs((0, 0, 0.8), (0, 1, 0.9))
    matches = match_at_every_threshold(two, np.array([0.5, 0.5, 0.5]), USED, NONE_IGNORED)
    assert matches.scores.tolist() == [0.5]
    assert matches.detection[matches.holding_at(0)].tolist() == [1]


def test_no_pairs() -> None:
    none = Overlaps(truth=np.empty(0, dtype=int), detection=np.empty(0, dtype=int), iou=np.empty(0))
    matches = match_at_every_threshold(none, SCORES, USED, NONE_IGNORED)
    assert matches.sums(np.empty(0)).tolist() == [0, 0, 0]
    assert [len(rows) for rows in match_by_score(none, SCORES)] == [0, 0]
