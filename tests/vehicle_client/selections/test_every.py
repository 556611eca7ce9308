from __future__ import annotations

from tests.candidates import make_candidate
from vehicle_client.selections import build


def test_the_first_and_every_nth_after_it_whatever_was_sent():
    selection = build("every", {"n": 3})
    chosen = [selection.judge(make_candidate(number)).is_selected for number in range(8)]
    assert chosen == [True, False, False, True, False, False, True, False]


def test_one_is_all():
    selection = build("every", {"n": 1})
    assert all(selection.judge(make_candidate(number)).is_selected for number in range(5))
