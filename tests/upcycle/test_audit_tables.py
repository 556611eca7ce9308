"""Tables of attacks that give back no scan."""

from __future__ import annotations

from rich.console import Console

from upcycle.audit_tables import decision_tables


def estimate(mean: float | None, low: float | None = None, high: float | None = None) -> dict:
    return {"mean": mean, "low": low, "high": high, "scenes": 40}


def numbers(measure: str, note: str) -> dict:
    return {
        "estimates": {measure: estimate(0.625, 0.5, 0.75)},
        "floors": {"chance": {measure: estimate(0.25)}},
        "ceilings": {"raw points": {measure: estimate(None)}},
        "ranked": [],
        "scenes": [],
        "notes": [note],
    }


REPORT = {
    "victims": [{"name": "kitti", "is_simulated": False, "relation": "elsewhere", "scenes": ["a", "b"]}],
    "decision_groups": [
        {
            "kind": "retrieval",
            "name": "twice",
            "relation": "again",
            "is_simulated": True,
            "datasets": ["simulated"],
            "scenes": 9,
            "counts": {"queries": 7, "drives": 4},
        }
    ],
    "attacks": [
        {"title": "cells", "kind": "reconstruction", "groups": {"kitti": {}}},
        {"title": "map", "kind": "retrieval", "groups": {"twice": numbers("recall@1", "few streets")}},
        {"title": "map again", "kind": "retrieval", "groups": {"twice": numbers("recall@1", "few streets")}},
        {"title": "stock", "kind": "detector", "groups": {"kitti": numbers("Car/recall_loose", "no people")}},
    ],
}


def test_each_kind_and_group_has_a_table_with_both_ends_of_its_scale() -> None:
    found = list(decision_tables(REPORT))
    assert [notes for _, notes in found] == [["no people"], ["few streets"]]
    console = Console(width=160, record=True)
    for table, _ in found:
        console.print(table)
    text = console.export_text()
    words = " ".join(text.split())
    assert "kitti, real (2 scenes), elsewhere" in words
    assert "twice, SIMULATED (7 queries, 4 drives), again" in words
    rows = [line for line in text.splitlines() if "0.62 (0.50–0.75)" in line]
    assert [row.split("│")[1].strip() for row in rows] == ["stock", "map", "map again"]
    floors = [line for line in text.splitlines() if "floor: chance" in line]
    assert len(floors) == 2  # one in each table, though two attacks have it
    assert "0.25" in floors[1]
    assert "cells" not in text


def test_ceilings_that_differ_say_whose_they_are() -> None:
    other = numbers("recall@1", "few streets")
    other["ceilings"] = {"raw points": {"recall@1": estimate(0.875)}}
    attacks = [REPORT["attacks"][1], {"title": "map again", "kind": "retrieval", "groups": {"twice": other}}]
    ((table, _),) = decision_tables({**REPORT, "attacks": attacks})
    names = list(table.columns[0].cells)
    assert names == ["floor: chance", "map", "map again", "ceiling: raw points, map", "ceiling: raw points, map again"]
