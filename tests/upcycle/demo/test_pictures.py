from __future__ import annotations

from server.evaluation.kitti_report import FrameOutcome
from upcycle.demo.pictures import _chosen


def outcomes(found: dict[str, int], objects: int = 4) -> dict[str, FrameOutcome]:
    """Frames with so many of `objects` found, and no false alarm."""
    return {name: FrameOutcome(frame_id=name, found=n, missed=objects - n, false_alarms=0) for name, n in found.items()}


def test_most_gained_middle_and_most_lost_are_shown() -> None:
    before = outcomes({"a": 2, "b": 2, "c": 0, "d": 4, "e": 1})
    after = outcomes({"a": 3, "b": 2, "c": 3, "d": 1, "e": 1})
    assert _chosen(before, after) == [("most gained", "c"), ("in the middle", "b"), ("most lost", "d")]


def test_scans_without_objects_say_nothing_and_none_comes_twice() -> None:
    before, after = outcomes({"a": 2}), outcomes({"a": 1})
    nothing = outcomes({"empty": 0}, objects=0)
    assert _chosen({**before, **nothing}, {**after, **nothing}) == [("most lost", "a")]
    assert _chosen(nothing, nothing) == []
