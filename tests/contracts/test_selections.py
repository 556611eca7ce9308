"""What every selection in the table must do, whatever its name."""

from __future__ import annotations

import ast
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from shared_models.errors import ConfigError, InvalidValueError, UnknownNameError
from tests.candidates import make_candidate
from vehicle_client.selection import Candidate, Combination, Selection, Verdict
from vehicle_client.selections import SELECTIONS, build

each_selection = pytest.mark.parametrize("name", sorted(SELECTIONS))
CHILDREN = {"of": [{"rule": "every", "n": 3}, {"rule": "novelty", "remembered": 8}, {"rule": "distance", "metres": 3}]}


def make(name: str) -> Selection:
    """The selection called `name`; combinations get three rules."""
    try:
        return build(name)
    except ConfigError:
        return build(name, CHILDREN)


def drive(count: int, start: int = 0) -> list[Candidate]:
    """Frames of a drive, some of them empty, some without pose, some seen before."""
    return [
        make_candidate(
            number % 29 if number % 5 == 0 else number,
            cells=0 if number % 11 == 3 else 20,
            scores=() if number % 7 == 2 else tuple(((number * k) % 10) / 10 for k in range(1, 1 + number % 6)),
            x_m=None if number % 13 == 5 else 1.5 * number,
            time_s=float(number),
        )
        for number in range(start, start + count)
    ]


def play(selection: Selection, candidates: Sequence[Candidate]) -> list[Verdict]:
    verdicts = []
    for candidate in candidates:
        verdict = selection.judge(candidate)
        if verdict.is_selected:
            selection.accept(candidate)
        verdicts.append(verdict)
    return verdicts


@each_selection
def test_it_is_known_by_its_name(name: str) -> None:
    assert make(name).name == name


@each_selection
def test_the_same_drive_gives_the_same_verdicts(name: str) -> None:
    first, second = play(make(name), drive(60)), play(make(name), drive(60))
    assert first == second
    assert {verdict.is_selected for verdict in first} == {True, False}, "this drive tells nothing about it"


@each_selection
def test_every_verdict_says_why_in_few_different_ways(name: str) -> None:
    reasons = {verdict.reason for verdict in play(make(name), drive(120))}
    assert all(reasons)
    assert len(reasons) <= 16  # they are counted by name in a report


@each_selection
def test_scores_are_there_where_they_are_promised(name: str) -> None:
    selection = make(name)
    scores = [verdict.score for verdict in play(selection, drive(60))]
    assert any(score is not None for score in scores) == selection.has_scores


@each_selection
def test_an_empty_scan_is_judged_at_any_time(name: str) -> None:
    empty = make_candidate(0, cells=0, scores=())
    selection = make(name)
    assert isinstance(selection.judge(empty), Verdict)
    selection.accept(empty)
    play(selection, drive(5))
    assert isinstance(selection.judge(empty), Verdict)
    assert isinstance(selection.judge(make_candidate(70)), Verdict)


@each_selection
def test_the_first_frame_is_selected_unless_the_rule_looks_at_it_alone(name: str) -> None:
    verdict = make(name).judge(make_candidate(0, scores=(0.99,)))
    assert verdict.is_selected == (name != "uncertainty")


@each_selection
@pytest.mark.parametrize("cut", [0, 1, 17])
def test_state_goes_through_json_and_on_where_it_was(name: str, cut: int) -> None:
    whole, first = make(name), make(name)
    expected = play(whole, drive(60))
    verdicts = play(first, drive(cut))
    second = make(name)
    second.restore(json.loads(json.dumps(first.state())))
    assert verdicts + play(second, drive(60 - cut, cut)) == expected
    assert second.state() == whole.state()


@each_selection
@pytest.mark.parametrize("wrong", [{}, {"children": 3}, {"sent": "many", "position": None, "sent_ns": "x"}])
def test_a_state_of_another_form_is_refused_or_empty(name: str, wrong: dict[str, Any]) -> None:
    selection = make(name)
    if selection.state() == {}:
        selection.restore(wrong)  # remembers nothing, so nothing can be wrong
        return
    with pytest.raises(InvalidValueError):
        selection.restore(wrong)


@each_selection
def test_memory_is_bounded(name: str) -> None:
    selection = make(name)
    sizes = []
    for start in (0, 400, 800):
        for candidate in drive(400, start):
            selection.judge(candidate)
            selection.accept(candidate)
        sizes.append(len(json.dumps(selection.state())))
    assert sizes[2] <= sizes[0] + 100
    assert sizes[2] < 200_000


@each_selection
def test_an_unknown_setting_lists_the_known_ones(name: str) -> None:
    settings = dict(CHILDREN) if isinstance(make(name), Combination) else {}
    with pytest.raises(ConfigError, match=f"selection {name}: .*colour: unknown key"):
        build(name, {**settings, "colour": 3})


def test_an_unknown_selection_lists_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="known: all_of, any_of, distance, elapsed_time, every, novelty"):
        build("best")


def test_members_of_the_family_do_not_import_each_other(repository: Path) -> None:
    members = {target.partition(":")[0] for target in SELECTIONS.values()}
    for member in members:
        tree = ast.parse((repository / Path(*member.split(".")).with_suffix(".py")).read_text(encoding="utf-8"))
        imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert not imported & (members | {"vehicle_client.selections"})
