from __future__ import annotations

from pathlib import Path

import pytest

from server.training.follow_records import FollowRecords, RoundRecord, SceneDecision, State
from shared_models.errors import DatasetError, InvalidValueError, NotFoundError


def decision(key: str, state: State = "quarantined", at_ns: int = 1) -> SceneDecision:
    reason = {"statistic": "features/zeros", "value": 1.0, "expected": 0.5, "distance": 9.0}
    return SceneDecision(
        scene_id=key * 64, vehicle="0123", state=state, round=1, at_ns=at_ns, distance=9.0, reasons=(reason,)
    )


def round_record(number: int) -> RoundRecord:
    return RoundRecord(
        number=number, first_step=0, last_step=2, scenes=1, admitted=1, quarantined=0, removed=0, is_passed=True,
        why="", checkpoint="step-00000002", at_ns=1, scores={"Car": 50.0},
    )  # fmt: skip


def test_the_last_decision_holds(tmp_path: Path) -> None:
    records = FollowRecords(tmp_path)
    assert records.decisions() == {}
    records.decide([decision("a"), decision("b")])
    records.decide([decision("a", "released", 2)])
    assert records.decisions() == {"a" * 64: decision("a", "released", 2), "b" * 64: decision("b")}


def test_a_line_that_was_cut_off_is_none_and_the_next_one_is_whole(tmp_path: Path) -> None:
    records = FollowRecords(tmp_path)
    records.decide([decision("a"), decision("b")])
    path = tmp_path / "follow/scenes.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    assert list(records.decisions()) == ["a" * 64]
    records.decide([decision("c")])
    assert list(records.decisions()) == ["a" * 64, "c" * 64]
    path.write_text("no JSON\n")
    with pytest.raises(DatasetError, match="scenes.jsonl: not readable"):
        records.decisions()


def test_nothing_that_was_measured_in_a_removed_scene_stays(tmp_path: Path) -> None:
    records = FollowRecords(tmp_path)
    records.decide([decision("a"), decision("b")])
    records.forget([SceneDecision(scene_id="a" * 64, vehicle="0123", state="removed", round=2, at_ns=3)])
    lines = (tmp_path / "follow/scenes.jsonl").read_text().splitlines()
    assert [line for line in lines if "a" * 64 in line and "features/zeros" in line] == []
    assert {key[0]: each.state for key, each in records.decisions().items()} == {"b": "quarantined", "a": "removed"}


def test_people_decide_by_the_beginning_of_an_id(tmp_path: Path) -> None:
    records = FollowRecords(tmp_path)
    records.decide([decision("a"), decision("b"), decision("c", "admitted")])
    records.settle(["aa"], "released", 5)
    assert records.decisions()["a" * 64].state == "released"
    for wrong in ("aa", "c", ""):  # decided already, never quarantined, everything
        with pytest.raises(NotFoundError, match="in quarantine begin with"):
            records.settle([wrong], "rejected", 6)
    assert records.decisions()["b" * 64].state == "quarantined"


def test_a_round_that_was_written_twice_is_one(tmp_path: Path) -> None:
    records = FollowRecords(tmp_path)
    for number in (0, 1, 1):
        records.add_round(round_record(number))
    assert records.rounds() == [round_record(0), round_record(1)]


def test_unknown_states_are_refused() -> None:
    with pytest.raises(InvalidValueError, match="state: expected one of"):
        decision("a", "maybe")  # type: ignore[arg-type]
