from __future__ import annotations

import pytest

from shared_models.errors import ConfigError
from tests.candidates import make_candidate
from vehicle_client.selections import build

PARTS = [{"rule": "every", "n": 2}, {"rule": "uncertainty", "threshold": 0.5}, {"rule": "novelty", "threshold": 0.4}]


def test_all_must_agree_and_the_lowest_score_counts():
    selection = build("all_of", {"of": PARTS})
    first, second, third = (make_candidate(i, scores=s, values=1.0) for i, s in enumerate([(0.5,), (0.5,), (0.99,)]))
    verdict = selection.judge(first)
    assert (verdict.is_selected, verdict.score) == (True, pytest.approx(1.0))
    assert verdict.reason.count(";") == 2
    assert selection.judge(second).reason == "every: one of 2 frames"
    assert selection.judge(third).reason == "uncertainty: mean entropy of 0.5 bit or more"


def test_all_are_told_what_was_sent():
    selection = build("all_of", {"of": PARTS})
    first = make_candidate(0, scores=(0.5,), values=1.0)
    selection.judge(first)
    selection.accept(first)
    selection.judge(make_candidate(1))
    assert selection.judge(first).reason == "novelty: distance of 0.4 or more"
    assert selection.needed() == {"detections"}


@pytest.mark.parametrize("of", [None, [], 3, ["every"], [{"n": 3}]])
def test_its_rules_have_to_be_given(of):
    with pytest.raises(ConfigError, match="expected"):
        build("all_of", {} if of is None else {"of": of})
