"""What a report says the strongest attack brought back, in the few numbers that a curve shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from server.audit.scores import direction_of

Table = Mapping[str, Any]

# The number that the other kinds of attacks are ranked by.
HEADLINES: Final[Mapping[str, str]] = {
    "detector": "Car/recall_loose",
    "retrieval": "recall@1",
    "membership": "auc",
    "property": "accuracy",
}
FLOOR, CEILING = "floor: ", "ceiling: "


def leakage_of(report: Table, measures: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Of each group of victims and measure: the attack that brought most back, and its estimate.

    An attacker chooses the attack, so the strongest one counts, by each measure for itself. A measure that no attack
    has a number of is left out.
    """
    attacks = [attack for attack in report["attacks"] if _kind(attack) == "reconstruction"]
    found: dict[str, dict[str, Any]] = {}
    for group in (victims["name"] for victims in report["victims"]):
        candidates = {
            measure: _strongest(
                ((attack["title"], attack["groups"][group]["estimates"].get(measure)) for attack in attacks), measure
            )
            for measure in measures
        }
        found[group] = {measure: best for measure, best in candidates.items() if best is not None}
    return found


def decisions_of(report: Table) -> list[dict[str, Any]]:
    """Of each kind of the other attacks and each of their groups: the strongest by the kind's headline."""
    offers: dict[tuple[str, str], list[tuple[str, Any]]] = {}
    for attack in report["attacks"]:
        kind = _kind(attack)
        for group, numbers in attack["groups"].items() if kind in HEADLINES else ():
            offers.setdefault((kind, group), []).append((attack["title"], numbers["estimates"].get(HEADLINES[kind])))
    found = []
    for (kind, group), offered in offers.items():
        best = _strongest(offered, HEADLINES[kind])
        if best is not None:
            found.append({"kind": kind, "group": group, "measure": HEADLINES[kind], **best})
    return found


def bounds_of(report: Table, prefix: str, measures: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Of each group: the floors (`FLOOR`) or the ceiling (`CEILING`) by name."""
    found: dict[str, dict[str, Any]] = {victims["name"]: {} for victims in report["victims"]}
    for name, groups in report["controls"].items():
        for group, numbers in groups.items() if name.startswith(prefix) else ():
            estimates = numbers["estimates"]
            kept = {measure: estimates[measure] for measure in measures if measure in estimates}
            found[group][name.removeprefix(prefix)] = kept
    return found


def _kind(attack: Table) -> str:
    return str(attack.get("kind", "reconstruction"))  # reports of version 1 know no other


def _strongest(offered: Iterable[tuple[str, Table | None]], measure: str) -> dict[str, Any] | None:
    known = [(title, each) for title, each in offered if each is not None and each["mean"] is not None]
    if not known:
        return None
    sign = direction_of(measure) or 1
    title, estimate = max(known, key=lambda pair: sign * pair[1]["mean"])
    return {"attack": title, "estimate": dict(estimate)}
