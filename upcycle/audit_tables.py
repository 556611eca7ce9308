"""Tables of the attacks that give back no scan: what was found, beside the floors and ceilings of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from rich.table import Table

SHOWN: Final[dict[str, tuple[str, dict[str, str]]]] = {
    "detector": (
        "objects that a detector finds in reconstructions",
        {
            "Car/recall_loose": "cars found",
            "Car/recall_strict": "strictly",
            "Car/ap_loose": "AP cars",
            "Pedestrian/recall_loose": "people found",
            "Pedestrian/ap_loose": "AP people",
        },
    ),
    "retrieval": ("places told again", {"recall@1": "recall@1", "recall@5": "recall@5"}),
    "membership": (
        "scenes that a detector learned from",
        {"auc": "AUC", "tpr_at_1%_fpr": "TPR at 1 % FPR"},
    ),
    "property": ("properties told", {"accuracy": "accuracy"}),
}


def decision_tables(report: Mapping[str, Any]) -> Iterator[tuple[Table, list[str]]]:
    """A table for each kind of attack and group of scenes, and what a reader of it has to know."""
    for kind, (title, measures) in SHOWN.items():
        attacks = [each for each in report["attacks"] if each["kind"] == kind]
        for name in dict.fromkeys(name for each in attacks for name in each["groups"]):
            own = [each for each in attacks if name in each["groups"]]
            table = Table(title=f"{title}: {_group_words(report, kind, name)}")
            table.add_column("what", no_wrap=True)
            for words in measures.values():
                table.add_column(words, justify="right", no_wrap=True)
            found = {each["title"]: each["groups"][name] for each in own}
            for row, estimates in _rows(found):
                table.add_row(row, *(cell(estimates.get(measure)) for measure in measures))
            yield table, list(dict.fromkeys(note for numbers in found.values() for note in numbers["notes"]))


def _rows(found: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, Mapping[str, Any]]]:
    """Floors, attacks, ceilings; one that several attacks share comes once, others say whose they are."""
    attacks = [(title, own["estimates"]) for title, own in found.items()]
    return [*_controls(found, "floors"), *attacks, *_controls(found, "ceilings")]


def _controls(found: Mapping[str, Mapping[str, Any]], which: str) -> list[tuple[str, Mapping[str, Any]]]:
    rows = []
    for name in dict.fromkeys(name for own in found.values() for name in own[which]):
        each = [(title, own[which][name]) for title, own in found.items() if name in own[which]]
        is_shared = all(estimates == each[0][1] for _, estimates in each)
        words = f"{which[:-1]}: {name}"
        rows += [(words, each[0][1])] if is_shared else [(f"{words}, {title}", own) for title, own in each]
    return rows


def _group_words(report: Mapping[str, Any], kind: str, name: str) -> str:
    asked = [each for each in report["decision_groups"] if (each["kind"], each["name"]) == (kind, name)]
    if not asked:
        victims = [each for each in report["victims"] if each["name"] == name]
        asked = [{**each, "counts": {"scenes": len(each["scenes"])}} for each in victims]
    if not asked:
        return name
    origin = "SIMULATED" if asked[0]["is_simulated"] else "real"
    counts = ", ".join(f"{count} {word}" for word, count in asked[0]["counts"].items())
    return f"{name}, {origin} ({counts}), {asked[0]['relation']}"


def cell(estimate: Mapping[str, Any] | None) -> str:
    """A number with its interval."""
    if estimate is None or estimate["mean"] is None:
        return "–"
    if estimate["low"] is None:
        return f"{estimate['mean']:.2f}"
    return f"{estimate['mean']:.2f} ({estimate['low']:.2f}–{estimate['high']:.2f})"
