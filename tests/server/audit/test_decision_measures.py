"""Places, membership and properties, against values worked out by hand and plain loops."""

from __future__ import annotations

import numpy as np
import pytest

from server.audit.decision_measures import accuracy, auc, recall_at, recall_at_chance, tpr_at_fpr
from shared_models.errors import InvalidValueError

PLACES = ["a", "b", "c", "a", "b", "d"]
DRIVES = ["1", "1", "1", "2", "2", "2"]


def test_recall_counts_only_scenes_of_other_drives() -> None:
    # Scene 0 (a, drive 1) is nearest to 3 (a): right. 1 (b) is nearest to 3, then 4 (b): wrong at 1, right at 2.
    # 3 (a) is nearest to 1, then 0: wrong at 1. 4 (b) is nearest to 1: right. Places c and d were visited once.
    descriptors = np.array([[0.0], [4.0], [50.0], [3.0], [5.5], [99.0]])
    assert recall_at(descriptors, PLACES, DRIVES, (1, 2)) == {1: 0.5, 2: 1.0}


def test_recall_at_chance_is_that_of_random_descriptors() -> None:
    generator = np.random.default_rng(0)
    found = [recall_at(generator.normal(size=(6, 2)), PLACES, DRIVES, (1, 2)) for _ in range(400)]
    chance = recall_at_chance(PLACES, DRIVES, (1, 2, 5))
    assert chance == {1: pytest.approx(1 / 3), 2: pytest.approx(2 / 3), 5: 1.0}
    assert np.mean([each[1] for each in found]) == pytest.approx(chance[1], abs=0.04)


def test_places_that_nobody_visited_twice_are_refused() -> None:
    with pytest.raises(InvalidValueError, match="at least two drives"):
        recall_at(np.zeros((2, 1)), ["a", "b"], ["1", "2"])


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
