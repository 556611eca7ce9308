from __future__ import annotations

import pytest

from shared_models.errors import InvalidValueError
from vehicle_client.selection import Verdict, number_of


@pytest.mark.parametrize(
    ("score", "priority"), [(None, 0), (0.0, 0), (0.24, 0), (0.25, 1), (0.5, 2), (0.75, 3), (1.0, 3)]
)
def test_scores_become_priority_classes(score, priority):
    assert Verdict(is_selected=True, reason="x", score=score).priority == priority


@pytest.mark.parametrize("score", [-0.1, 1.1, float("nan")])
def test_scores_are_0_to_1(score):
    with pytest.raises(InvalidValueError, match=r"Verdict\.score"):
        Verdict(is_selected=True, reason="x", score=score)


@pytest.mark.parametrize("value", [None, "3", True, -1, float("inf")])
def test_a_saved_number_is_checked(value):
    with pytest.raises(InvalidValueError, match=r"every\.position"):
        number_of("every", {"position": value}, "position")
    assert number_of("every", {"position": 3}, "position") == 3
