"""Tables of attacks that give back no scan."""

from __future__ import annotations

from typing import Any

from server.audit.page.families import families_section, family_sentences
from tests.server.audit.page.small_report import EVIL, attack


def estimate(mean: float) -> dict[str, Any]:
    return {"mean": mean, "low": mean - 0.01, "high": mean + 0.01, "scenes": 70}


def decision(kind: str, measure: str, mean: float) -> dict[str, Any]:
    numbers = {
        "estimates": {measure: estimate(mean)},
        "ranked": [],
        "scenes": [],
        "floors": {"chance": {measure: estimate(0.12)}},
        "ceilings": {"raw points": {measure: estimate(0.94)}},
        "notes": [f"too few others {EVIL}"],
    }
    return attack(f"{kind} attack", kind, 0, kind, groups={f"group {EVIL}": numbers})


def test_without_such_attacks_the_page_says_so(report: dict[str, Any]) -> None:
    made = families_section(report)
    assert "Not part of this audit: objects that come back, places, membership, properties." in made
    for each in report["attacks"]:
        del each["kind"]  # as in the first version of reports
    assert families_section(report) == made


def test_each_family_has_its_floor_its_ceiling_and_its_notes(report: dict[str, Any]) -> None:
    report["attacks"] += [decision("retrieval", "recall@1", 0.43), decision("membership", "auc", 0.57)]
    report["decision_groups"] = [
        {
            "kind": "retrieval",
            "name": f"group {EVIL}",
            "relation": "other drives",
            "is_simulated": True,
            "datasets": ["simulated"],
            "scenes": 91,
            "counts": {"queries": 71, "drives": 20},
        }
    ]
    made = families_section(report)
    for words in ("91 SIMULATED scenes (71 queries, 20 drives), other drives", "0.43", "0.57", "0.12", "0.94", "AUC"):
        assert words in made
    assert made.index("floor: chance") < made.index("retrieval attack") < made.index("ceiling: raw points")
    assert "Not part of this audit: objects that come back, properties." in made
    assert EVIL not in made
    assert "too few others" in made
    first = family_sentences(report)[0]
    assert "91 SIMULATED scenes" in first
    assert first.endswith("recall@1: 0.43 (0.42 to 0.44) (floor: chance 0.12; ceiling: raw points 0.94).")


def test_ceilings_that_differ_say_whose_they_are(report: dict[str, Any]) -> None:
    one, other = decision("membership", "auc", 0.57), decision("membership", "auc", 0.61)
    other["title"] = "calibrated"
    (numbers,) = other["groups"].values()
    numbers["ceilings"] = {"raw points": {"auc": estimate(0.88)}}
    report["attacks"] += [one, other]
    made = families_section(report)
    assert "ceiling: raw points, membership attack" in made
    assert "ceiling: raw points, calibrated" in made
    assert made.count("floor: chance") == 1


def test_a_detector_has_a_table_for_each_class_and_names_what_it_ran_on(report: dict[str, Any]) -> None:
    names = ("Car/objects", "Car/found_loose", "Car/recall_loose", "Pedestrian/ap_strict", "Cyclist/objects")
    numbers = {
        "estimates": {name: estimate(0.31 + place) for place, name in enumerate(names)} | {names[-1]: estimate(0)},
        "ranked": [],
        "scenes": [],
        "floors": {"random points": {"Car/recall_loose": estimate(0.02), names[-1]: estimate(0)}},
        "ceilings": {},
        "notes": [],
    }
    report["attacks"].append(
        attack("detector", "detector", 0, "detector", groups={"simulated": numbers}, settings={"on": "occupancy"})
    )
    made = families_section(report)
    assert made.count("<caption>") == 2  # not one for the class without objects
    assert "detector, on what occupancy gave back" in made
    assert "4 SIMULATED scenes" in made
    assert "labelled objects" in made
    assert made.count('<td class="amount">1</td>') == 1  # found_loose, 1.31, is a count
    assert "AP, strict" in made
