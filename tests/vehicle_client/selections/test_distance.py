from __future__ import annotations

import logging

import pytest

from shared_models.errors import InvalidValueError
from tests.candidates import make_candidate
from vehicle_client.selections import build


def played(xs_m: list[float | None], **settings: float) -> list[int]:
    selection, chosen = build("distance", settings), []
    for index, x_m in enumerate(xs_m):
        candidate = make_candidate(index, x_m=x_m)
        if selection.judge(candidate).is_selected:
            selection.accept(candidate)
            chosen.append(index)
    return chosen


def test_metres_are_counted_along_the_path_since_the_last_frame_sent():
    assert played([0.0, 4.0, 9.0, 10.0, 14.0, 19.0, 21.0], metres=10) == [0, 3, 6]
    assert played([0.0, 4.0, 0.0, 4.0, 0.0], metres=10) == [0, 3]  # 12 m there and back


def test_a_standing_vehicle_sends_one_frame():
    assert played([5.0] * 50, metres=1) == [0]


def test_another_drive_begins_with_its_first_frame():
    assert played([0.0, 1.0, 5000.0, 5001.0], metres=10) == [0, 2]


def test_a_frame_over_budget_does_not_count_as_sent():
    selection = build("distance", {"metres": 10})
    assert selection.judge(make_candidate(0)).is_selected
    selection.accept(make_candidate(0))
    assert [selection.judge(make_candidate(i, x_m=6.0 * i)).is_selected for i in (1, 2, 3)] == [False, True, True]


def test_without_a_pose_it_falls_back_and_says_so_once(caplog):
    with caplog.at_level(logging.WARNING):
        assert played([None] * 9, without_pose=4) == [0, 4, 8]
    assert len(caplog.records) == 1
    assert "frame 000000 has no pose, so the distance is not known: one of 4 frames is selected" in caplog.text
    assert played([None] * 9, without_pose=0) == []


@pytest.mark.parametrize("at", [3, [1.0, 2.0], [1.0, 2.0, float("nan")]])
def test_a_damaged_place_is_refused(at):
    with pytest.raises(InvalidValueError, match="expected three numbers"):
        build("distance").restore({"without_pose": 0, "at": at, "driven_m": None})
