from __future__ import annotations

import pytest

from shared_models.errors import InvalidValueError, UnknownNameError
from vehicle_client.priority import Priority


def test_classes_have_names_and_an_order():
    assert [Priority.of_name(name) for name in ("low", "routine", "high", "urgent")] == sorted(Priority)
    with pytest.raises(UnknownNameError, match="unknown priority 'Low'; known: high, low, routine, urgent"):
        Priority.of_name("Low")


@pytest.mark.parametrize("score", [-0.01, 1.01, float("nan")])
def test_scores_are_0_to_1(score: float):
    with pytest.raises(InvalidValueError, match=r"Priority\.score"):
        Priority.of_score(score)


def test_a_better_score_is_never_of_a_lower_class():
    classes = [Priority.of_score(step / 100) for step in range(101)]
    assert classes == sorted(classes)
    assert [classes.count(each) for each in Priority] == [25, 25, 25, 26]
