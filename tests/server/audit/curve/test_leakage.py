"""The strongest attack counts, by each measure for itself, against reports written by hand."""

from __future__ import annotations

from typing import Any

from server.audit.curve.leakage import CEILING, FLOOR, bounds_of, decisions_of, leakage_of


def estimate(mean: float | None) -> dict[str, Any]:
    return {"mean": mean, "low": None, "high": None, "scenes": 6}


def attack(title: str, groups: dict[str, dict[str, float | None]], kind: str = "reconstruction") -> dict[str, Any]:
    found = {name: {"estimates": {m: estimate(v) for m, v in own.items()}} for name, own in groups.items()}
    return {"title": title, "kind": kind, "groups": found}


NAMES = ("home", "abroad")
REPORT: dict[str, Any] = {
    "victims": [{"name": "home"}, {"name": "abroad"}],
    "attacks": [
        attack("cells", {"home": {"f": 0.2, "chamfer_m": 0.5, "psnr": None}, "abroad": {"f": 0.4, "chamfer_m": 0.7}}),
        attack("decoder", {"home": {"f": 0.3, "chamfer_m": 0.9, "psnr": None}, "abroad": {"f": 0.1, "chamfer_m": 0.6}}),
        attack("places", {"drives": {"recall@1": 0.1, "recall@5": 0.9}}, "retrieval"),
        attack("places, learned", {"drives": {"recall@1": 0.4, "recall@5": 0.5}}, "retrieval"),
        attack("loss", {"members": {"auc": 0.55}}, "membership"),
        attack("nothing", {"weather": {"accuracy": None}}, "property"),
    ],
    "controls": {
        "floor: mean scene": {name: {"estimates": {"f": estimate(0.1), "g": estimate(0)}} for name in NAMES},
        "ceiling: raw points": {name: {"estimates": {"f": estimate(1.0)}} for name in NAMES},
    },
}


def test_the_strongest_attack_of_each_group_and_measure_counts() -> None:
    found = leakage_of(REPORT, ["f", "chamfer_m", "psnr", "verbatim_share"])
    best = {
        group: {measure: (each["attack"], each["estimate"]["mean"]) for measure, each in own.items()}
        for group, own in found.items()
    }
    assert best == {  # a small distance is what an attacker wants; what nobody has a number of is left out
        "home": {"f": ("decoder", 0.3), "chamfer_m": ("cells", 0.5)},
        "abroad": {"f": ("cells", 0.4), "chamfer_m": ("decoder", 0.6)},
    }
    assert found["home"]["f"]["estimate"] == estimate(0.3)


def test_other_kinds_are_ranked_by_their_headline() -> None:
    found = [(each["kind"], each["group"], each["attack"], each["estimate"]["mean"]) for each in decisions_of(REPORT)]
    assert found == [("retrieval", "drives", "places, learned", 0.4), ("membership", "members", "loss", 0.55)]


def test_reports_of_the_first_form_have_one_kind() -> None:
    attacks = [{key: value for key, value in each.items() if key != "kind"} for each in REPORT["attacks"][:2]]
    first = {**REPORT, "attacks": attacks}
    assert leakage_of(first, ["f"]) == leakage_of(REPORT, ["f"])
    assert decisions_of(first) == []


def test_floors_and_ceilings_by_group() -> None:
    floors, ceilings = (bounds_of(REPORT, prefix, ["f"]) for prefix in (FLOOR, CEILING))
    assert floors == {name: {"mean scene": {"f": estimate(0.1)}} for name in NAMES}
    assert ceilings == {name: {"raw points": {"f": estimate(1.0)}} for name in NAMES}
