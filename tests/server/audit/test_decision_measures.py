"""Places, membership and properties, against values worked out by hand and plain loops."""

from __future__ import annotations

import numpy as np
import pytest

from server.audit.decision_measures import Visits, accuracy, auc, hit_chances_at, hits_at, tpr_at_fpr
from shared_models.errors import InvalidValueError

STREETS = ["a", "a", "a", "a", "a", "b"]
DRIVES = ["1", "1", "1", "2", "2", "3"]
# Scenes 0 and 3, and 1 and 4, were taken 3 m from each other; 2 is far from all, 5 near 0 but in another street.
POSITIONS = np.array([[0, 0], [100, 0], [500, 0], [3, 0], [100, 3], [1, 0]], np.float64)


def visits() -> Visits:
    return Visits.of(DRIVES, STREETS, POSITIONS, radius_m=5.0)


def test_a_match_is_of_another_drive_the_same_street_and_near() -> None:
    assert np.argwhere(visits().is_match).tolist() == [[0, 3], [1, 4], [3, 0], [4, 1]]
    assert visits().queries.tolist() == [0, 1, 3, 4]
    assert not visits().is_candidate[0, 1]
    assert len(Visits.of(DRIVES, STREETS, POSITIONS, radius_m=2.0).queries) == 0


def test_hits_count_only_scenes_of_other_drives() -> None:
    # Scene 0 (drive 1) is nearest to 3: right. 1 is nearest to 3, then to 4: wrong at 1, right at 2.
    # 3 is nearest to 1, then to 0: wrong at 1. 4 is nearest to 1: right.
    descriptors = np.array([[0.0], [4.0], [50.0], [3.0], [5.5], [99.0]])
    assert hits_at(descriptors, visits(), 1).tolist() == [True, False, False, True]
    assert hits_at(descriptors, visits(), 2).tolist() == [True] * 4


def test_the_chance_of_a_hit_is_that_of_random_descriptors() -> None:
    generator = np.random.default_rng(0)
    found = [hits_at(generator.normal(size=(6, 2)), visits(), 2).mean() for _ in range(400)]
    # Scenes 0 and 1 have 3 candidates (3, 4, 5), 3 and 4 have 4 (0, 1, 2, 5), each with one match.
    assert hit_chances_at(visits(), 1).tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 4, 1 / 4])
    assert hit_chances_at(visits(), 5).tolist() == [1, 1, 1, 1]
    assert np.mean(found) == pytest.approx(hit_chances_at(visits(), 2).mean(), abs=0.04)


def test_auc_is_the_share_of_pairs_in_the_right_order() -> None:
    generator = np.random.default_rng(1)
    members, others = generator.integers(0, 6, 40) + 1.0, generator.integers(0, 6, 30) + 0.0
    pairs = [(m > o) + 0.5 * (m == o) for m in members for o in others]
    assert auc(members, others) == pytest.approx(np.mean(pairs))
    assert auc(np.array([1.0]), np.array([1.0])) == 0.5


def test_tpr_is_taken_where_at_most_one_percent_of_the_others_are_above() -> None:
    others = np.arange(200.0)
    members = np.array([196.5, 197.0, 197.5, 198.5, 300.0])
    # Two of 200 may be above: the threshold is 197, and three members are above it.
    assert tpr_at_fpr(members, others) == pytest.approx(3 / 5)
    assert tpr_at_fpr(members, others[:50]) == 1.0  # none of 50 may be above 49
    assert tpr_at_fpr(members, others, fpr=1.0) == 1.0


def test_membership_needs_both_sides() -> None:
    for measure in (auc, tpr_at_fpr):
        with pytest.raises(InvalidValueError, match="members and of others"):
            measure(np.zeros(0), np.zeros(3))


def test_accuracy_comes_with_its_chance_level() -> None:
    assert accuracy(["x", "y", "x", "x"], ["x", "x", "x", "y"]) == (0.5, 0.75)
    for predicted, actual in (([], []), (["x"], ["x", "y"])):
        with pytest.raises(InvalidValueError, match="prediction per scene"):
            accuracy(predicted, actual)
