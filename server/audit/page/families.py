"""Attacks that give back no scan: a detector on reconstructions, places, membership and properties."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from server.audit.page.markup import Amount, Markup, bullets, paragraph, section, table
from server.audit.page.numbers import cell, mean_of, shown, with_interval
from server.audit.page.rows import attacks_of, victims_words

# kind: (heading, what it asks)
KINDS: Final = {
    "detector": (
        "Objects that come back",
        "A stock detector runs on the reconstructions. Loose and strict are KITTI's overlaps in 3D: 0.5 and 0.7 for "
        "cars, 0.25 and 0.5 for pedestrians. AP is a share, from 0 to 1.",
    ),
    "retrieval": (
        "Places",
        "Is the same place found again among stored features of other drives? Recall@k: the share of scenes with a "
        "scene of the same place among the k most alike.",
    ),
    "membership": (
        "Membership",
        "Was a scene in the training set of the published checkpoint? AUC is 0.5 for guessing; the second number is "
        "the share of members found while one other scene in a hundred is taken for one.",
    ),
    "property": (
        "Properties",
        "Which sensor, city or weather does a payload come from? The floor is to always say the most frequent value.",
    ),
}
WORDS: Final = {
    "objects": "labelled objects",
    "found_loose": "found, loose",
    "found_strict": "found, strict",
    "recall_loose": "recall, loose",
    "recall_strict": "recall, strict",
    "ap_loose": "AP, loose",
    "ap_strict": "AP, strict",
    "auc": "AUC",
    "tpr_at_1%_fpr": "members found at 1 % false alarms",
    "accuracy": "accuracy",
    "recall@1": "recall@1",
    "recall@5": "recall@5",
}
COUNTS: Final = ("objects", "found_loose", "found_strict")
NOT_RUN: Final = "Not part of this audit: {}."

HEADLINES: Final = {
    "detector": "Car/recall_loose",
    "retrieval": "recall@1",
    "membership": "auc",
    "property": "accuracy",
}

Line = tuple[str, str, Mapping[str, Any]]  # title, threat, estimates


def families_section(report: Mapping[str, Any]) -> Markup:
    """A table for each kind and group; what was not run is named."""
    parts: list[object] = []
    for kind, (heading, about) in KINDS.items():
        own = attacks_of(report, kind)
        if own:
            parts += [Markup(f"<h3>{heading}</h3>"), paragraph(about)]
            groups = list(dict.fromkeys(name for attack in own for name in attack["groups"]))
            parts += [_group(report, kind, name, own) for name in groups]
    missing = [heading.lower() for kind, (heading, _) in KINDS.items() if not attacks_of(report, kind)]
    if missing:
        parts.append(paragraph(NOT_RUN.format(", ".join(missing))))
    return section("families", "Objects, places, membership, properties", *parts)


def family_sentences(report: Mapping[str, Any]) -> list[str]:
    """The first number of each such attack beside its floors and ceilings."""
    found = []
    for kind, measure in HEADLINES.items():
        for attack in attacks_of(report, kind):
            for name, numbers in attack["groups"].items():
                controls = [line for end in ("floors", "ceilings") for line in _controls({"": numbers}, end)]
                beside = "; ".join(f"{title} {shown(mean_of(of, measure))}" for title, _, of in controls)
                part = measure.rpartition("/")[0]
                words = f"{part} {_name(measure, part)}".strip()
                value = with_interval(numbers["estimates"].get(measure))
                found.append(f"{_title(attack)}. {_caption(report, kind, name)}. {words}: {value} ({beside}).")
    return found


def _group(report: Mapping[str, Any], kind: str, name: str, attacks: Sequence[Mapping[str, Any]]) -> Markup:
    own = [(attack, attack["groups"][name]) for attack in attacks if name in attack["groups"]]
    titled = {_title(attack): numbers for attack, numbers in own}
    floors, ceilings = _controls(titled, "floors"), _controls(titled, "ceilings")
    lines = [(_title(attack), str(attack["threat"]), numbers["estimates"]) for attack, numbers in own]
    every = [*floors, *lines, *ceilings]
    caption = _caption(report, kind, name)
    tables = [_table(f"{caption}{f': {part}' if part else ''}", every, part) for part in _parts(every, kind)]
    notes = list(dict.fromkeys(note for _, numbers in own for note in numbers.get("notes", ())))
    return Markup("\n".join([*tables, bullets(notes) if notes else ""]))


def _title(attack: Mapping[str, Any]) -> str:
    on = attack["settings"].get("on") if isinstance(attack["settings"], Mapping) else None
    return f"{attack['title']}, on what {on} gave back" if on else str(attack["title"])


def _controls(every: Mapping[str, Mapping[str, Any]], kind: str) -> list[Line]:
    """Floors or ceilings of attacks by title; one that all share is shown once, others say whose they are."""
    found: list[Line] = []
    for name in dict.fromkeys(name for numbers in every.values() for name in numbers.get(kind, {})):
        own = [(title, numbers[kind][name]) for title, numbers in every.items() if name in numbers.get(kind, {})]
        words = f"{kind[:-1]}: {name}"
        is_shared = all(estimates == own[0][1] for _, estimates in own)
        found += [
            (words if is_shared else f"{words}, {title}", "–", each) for title, each in own[: 1 if is_shared else None]
        ]
    return found


def _caption(report: Mapping[str, Any], kind: str, name: str) -> str:
    if kind == "detector":
        group = next((each for each in report["victims"] if each["name"] == name), None)
        return name if group is None else victims_words(group)
    own = (each for each in report.get("decision_groups", ()) if (each["kind"], each["name"]) == (kind, name))
    found = next(own, None)
    if found is None:
        return name
    data = "SIMULATED" if found["is_simulated"] else "real"
    counts = ", ".join(f"{count:,} {word}" for word, count in found["counts"].items())
    return f"{name}: {found['scenes']:,} {data} scenes ({counts}), {found['relation']}"


def _parts(lines: Sequence[Line], kind: str) -> list[str]:
    """For detectors, the classes that have objects; else one table for all."""
    if kind != "detector":
        return [""]
    parts = dict.fromkeys(name.rpartition("/")[0] for _, _, estimates in lines for name in estimates)
    return [part for part in parts if any(mean_of(of, f"{part}/objects") != 0 for _, _, of in lines)]


def _table(caption: str, lines: Sequence[Line], part: str) -> Markup:
    every = dict.fromkeys(name for _, _, estimates in lines for name in estimates)
    names = [name for name in every if not part or name.rpartition("/")[0] == part]
    heads = ["what", "threat", *(_name(name, part) for name in names)]
    rows = [[title, threat, *(_amount(name, estimates) for name in names)] for title, threat, estimates in lines]
    return table(caption, heads, rows)


def _amount(name: str, estimates: Mapping[str, Any]) -> Amount:
    """A share with its interval; objects are counted."""
    mean = mean_of(estimates, name)
    if mean is not None and name.rpartition("/")[2] in COUNTS:
        return Amount(f"{mean:,.0f}")
    return cell(estimates.get(name))


def _name(name: str, part: str) -> str:
    word = name.removeprefix(f"{part}/") if part else name
    return WORDS.get(word, word.replace("recall/", "recall of ").replace("_", " "))
