from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shared_models.errors import ConfigError, StorageError, StorageFullError
from tests.candidates import make_candidate
from tests.loopback import Hours
from vehicle_client import selector as selector_module
from vehicle_client.selections import selection_of
from vehicle_client.selector import Selector

NOON_S = 20_778 * 86_400.0 + 43_200.0
UNCERTAIN = {"rule": "uncertainty", "measure": "boxes", "boxes": 1, "low": 0.0, "high": 1.0}


@pytest.fixture
def hours() -> Hours:
    return Hours()


@pytest.fixture
def make(tmp_path: Path, hours: Hours):
    def opened(**mapping: Any) -> Selector[int]:
        selection, config = selection_of(mapping)
        path = tmp_path / "selection.json"
        return Selector(selection, config, path, mapping, lambda: NOON_S + hours.now_s).__enter__()

    return opened


def offered(selector: Selector[int], boxes: list[int]) -> list[tuple[int, str | None]]:
    """Numbers of frames in the order in which they were decided, with the reason of those that are not sent."""
    decisions = []
    for number, count in enumerate(boxes):
        decisions += selector.offer(make_candidate(number, scores=(0.5,) * count), number)
    decisions += selector.flush()
    return [(d.item, None if d.verdict.is_selected else d.verdict.reason) for d in decisions]


def test_of_each_window_the_best_frame_is_sent(make):
    selector = make(**UNCERTAIN, window_frames=3)
    worse = "window: a better one of 3 frames"
    none = "uncertainty: 1 or more boxes of scores 0 to 1"
    assert offered(selector, [1, 5, 2, 0, 0, 3, 4, 4]) == [
        (0, worse),
        (2, worse),
        (1, None),
        (3, none),
        (4, none),
        (5, None),
        (7, worse),  # a draw goes to the earlier one
        (6, None),
    ]


def test_an_empty_window_sends_nothing(make):
    selector = make(**UNCERTAIN, window_frames=2)
    assert [reason is None for _, reason in offered(selector, [0, 0, 0, 0])] == [False] * 4
    assert selector.flush() == []


def test_a_window_needs_scores(make):
    with pytest.raises(ConfigError, match="selection every: window_frames needs a rule with scores"):
        make(rule="every", window_frames=2)


def sent(selector: Selector[int], count: int, size: int) -> int:
    done = 0
    for number in range(count):
        if selector.over_budget(size) is None:
            selector.sent(make_candidate(number), size)
            done += 1
    return done


def test_scenes_and_bytes_have_budgets_an_hour_and_a_day(make, hours):
    selector = make(rule="every", n=1, scenes_per_hour=3, bytes_per_day=1000)
    assert sent(selector, 9, 200) == 3
    assert selector.over_budget() == "budget: 3 scenes per hour"
    hours.now_s = 3600.0
    assert sent(selector, 9, 200) == 2
    assert selector.over_budget() is None
    assert selector.over_budget(1) == "budget: 1000 bytes per day"
    hours.now_s = 43_200.0
    assert sent(selector, 9, 200) == 3
    assert selector.report() == {
        "rule": {"rule": "every", "n": 1, "scenes_per_hour": 3, "bytes_per_day": 1000},
        "scenes_this_hour": 3,
        "bytes_this_hour": 600,
        "scenes_this_day": 3,
        "bytes_this_day": 600,
    }


def test_no_change_of_the_clock_and_no_kill_gives_a_budget_twice(make, hours):
    for days in (0, 1, 0, -300, 1, 0, -300):
        hours.now_s = days * 86_400.0
        sent(make(rule="every", scenes_per_day=4), 9, 1)  # never closed: killed
    for days in (0, 1, -300):
        hours.now_s = days * 86_400.0
        assert make(rule="every", scenes_per_day=4).report()["scenes_this_day"] == 4


def test_a_restart_remembers_what_was_sent(make):
    seen = make_candidate(0, values=1.0)
    first = make(rule="novelty")
    first.sent(seen, 10)
    again = make(rule="novelty")
    assert not again.offer(seen, 0)[0].verdict.is_selected
    assert again.report()["scenes_this_day"] == 1


def test_another_rule_keeps_the_budget_and_nothing_else(make):
    first = make(rule="novelty", threshold=0.5, scenes_per_day=1)
    first.sent(make_candidate(0), 10)
    other = make(rule="novelty", threshold=0.1, scenes_per_day=1)
    assert other.offer(make_candidate(0), 0)[0].verdict.score == 1.0
    assert other.over_budget() == "budget: 1 scenes per day"


def test_the_end_keeps_what_was_seen(make):
    first = make(rule="every", n=3)
    for number in range(2):
        first.offer(make_candidate(number), number)
    first.__exit__()
    again = make(rule="every", n=3)
    assert [again.offer(make_candidate(i), i)[0].verdict.is_selected for i in range(2)] == [False, True]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"rule": {"rule": "every"}, "state": {"position": "x"}, "hours": {}, "days": {}}',
        '{"rule": {"rule": "every"}, "state": {"position": 0}, "hours": {"x": {}}, "days": {}}',
        '{"rule": {"rule": "every"}, "state": {"position": 0}, "hours": {}, "days": {"1": {"scenes": -1}}}',
    ],
)
def test_a_damaged_file_is_named(make, tmp_path: Path, text: str):
    (tmp_path / "selection.json").write_text(text)
    with pytest.raises(StorageError, match=r"selection\.json.*remove it"):
        make(rule="every")


def test_a_full_disk_is_said(make, monkeypatch):
    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    selector = make(rule="every")
    monkeypatch.setattr(selector_module, "write_durably", full)
    with pytest.raises(StorageFullError, match=r"selection\.json"):
        selector.sent(make_candidate(0), 1)


def test_the_file_is_small_and_readable(make, tmp_path: Path):
    selector = make(rule="novelty")
    for number in range(70):
        selector.sent(make_candidate(number, channels=128), 1)
    size = (tmp_path / "selection.json").stat().st_size
    assert 64 * 256 * 4 < size < 100_000
    assert json.loads((tmp_path / "selection.json").read_text())["days"] == {"20778": {"scenes": 70, "bytes": 70}}
