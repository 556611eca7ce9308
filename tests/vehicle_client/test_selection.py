from __future__ import annotations

import pytest

from shared_models.errors import InvalidValueError
from vehicle_client.priority import Priority
from vehicle_client.selection import Verdict, number_of


@pytest.mark.parametrize(
    ("score", "priority"),
    [
        (None, None),
        (0.0, Priority.LOW),
        (0.24, Priority.LOW),
        (0.25, Priority.ROUTINE),
        (0.5, Priority.HIGH),
        (0.75, Priority.URGENT),
        (1.0, Priority.URGENT),
    ],
)
def test_scores_become_priority_classes(score, priority):
    assert Verdict(is_selected=True, reason="x", score=score).priority is priority


@pytest.mark.parametrize("score", [-0.1, 1.1, float("nan")])
def test_scores_are_0_to_1(score):
    with pytest.raises(InvalidValueError, match=r"Verdict\.score"):
        Verdict(is_selected=True, reason="x", score=score)


@pytest.mark.parametrize("value", [None, "3", True, -1, float("inf")])
def test_a_saved_number_is_checked(value):
    with pytest.raises(InvalidValueError, match=r"every\.position"):
        number_of("every", {"position": value}, "position")
    assert number_of("every", {"position": 3}, "position") == 3
