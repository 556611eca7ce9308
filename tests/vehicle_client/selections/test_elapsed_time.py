from __future__ import annotations

from tests.candidates import make_candidate
from vehicle_client.selections import build


def played(times_s: list[float], seconds: float) -> list[float]:
    selection, chosen = build("elapsed_time", {"seconds": seconds}), []
    for time_s in times_s:
        candidate = make_candidate(time_s=time_s)
        if selection.judge(candidate).is_selected:
            selection.accept(candidate)
            chosen.append(time_s)
    return chosen


def test_time_runs_from_the_last_frame_sent():
    assert played([0.0, 1.0, 1.9, 2.0, 3.5, 4.5, 6.0], 2.0) == [0.0, 2.0, 4.5]


def test_a_frame_that_was_not_sent_does_not_count():
    selection = build("elapsed_time", {"seconds": 2})
    selection.accept(make_candidate(time_s=0.0))
    assert selection.judge(make_candidate(time_s=2.0)).is_selected  # over budget: not accepted
    assert selection.judge(make_candidate(time_s=2.1)).is_selected


def test_a_clock_that_was_put_back_does_not_stop_it():
    assert played([1e6, 0.0, 1.0, 2.0], 2.0) == [1e6, 0.0, 2.0]
