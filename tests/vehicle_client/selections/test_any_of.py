from __future__ import annotations

import pytest

from tests.candidates import make_candidate
from vehicle_client.selections import build

PARTS = [{"rule": "every", "n": 3}, {"rule": "uncertainty", "threshold": 0.9}]


def test_one_is_enough_and_the_best_score_of_those_that_select_counts():
    selection = build("any_of", {"of": PARTS})
    sure, unsure = make_candidate(0, scores=(0.99,)), make_candidate(1, scores=(0.5,))
    by_number, by_score, by_none = (selection.judge(candidate) for candidate in (sure, unsure, sure))
    assert (by_number.is_selected, by_number.score, by_number.reason) == (True, None, "every: one of 3 frames")
    assert (by_score.is_selected, by_score.score) == (True, pytest.approx(1.0))
    assert by_score.reason == "uncertainty: mean entropy of 0.9 bit or more"
    assert not by_none.is_selected
    assert by_none.reason.count(";") == 1
    assert selection.judge(unsure).reason.count(";") == 1  # both


def test_combinations_combine():
    selection = build("any_of", {"of": [{"rule": "all_of", "of": PARTS}, {"rule": "every", "n": 2}]})
    chosen = [selection.judge(make_candidate(i, scores=(0.5,))).is_selected for i in range(6)]
    assert chosen == [True, False, True, True, True, False]
