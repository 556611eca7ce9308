"""Which rows tables have, and which attack counts as the strongest."""

from __future__ import annotations

from typing import Any

from server.audit.page.rows import all_rows, attack_rows, attacks_of, strongest, strongest_attack
from tests.server.audit.page.small_report import attack


def test_floors_come_first_weakest_first_and_ceilings_last(report: dict[str, Any]) -> None:
    titles = [row.title for row in all_rows(report, "simulated")]
    assert titles[:3] == ["floor: random points", "floor: mean scene", "active_cells"]
    assert titles[-1] == "ceiling: raw points"
    assert [row.title for row in attack_rows(report, "simulated", is_trivial=True)] == ["active_cells"]


def test_other_kinds_of_attack_are_no_rows_here(report: dict[str, Any]) -> None:
    report["attacks"].append(attack("places", "polar_map", 0.9, "retrieval"))
    assert [row.title for row in attack_rows(report, "simulated")] == [a["title"] for a in report["attacks"][:2]]
    assert len(attacks_of(report, "retrieval")) == 1


def test_a_guess_is_the_strongest_attack_only_where_there_is_no_other(report: dict[str, Any]) -> None:
    report["attacks"].append(attack("mean scene", "mean_scene", 0.7))
    rows = attack_rows(report, "simulated")
    best, real = strongest(rows), strongest_attack(rows)
    assert best is not None
    assert real is not None
    assert (best.title, real.title) == ("mean scene", report["attacks"][1]["title"])
    assert strongest_attack(rows[-1:]) == rows[-1]
    assert strongest_attack([]) is None
