"""The beginning of the page: which attack, with what knowledge and budget, recovered what. It never says more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from server.audit.page.families import family_sentences
from server.audit.page.markup import Markup, bullets, joined, note, paragraph, section, tag
from server.audit.page.numbers import (
    CEILING,
    FLOOR,
    in_metres,
    mean_of,
    middle_threshold,
    parts_of,
    percent,
    shown,
    with_interval,
)
from server.audit.page.rows import (
    Row,
    attack_rows,
    control_rows,
    headline_name,
    strongest,
    strongest_attack,
    victims_words,
)
from server.audit.page.threats import has_words

LIMIT = (
    "This page does not say whether the features can be inverted. It says what the attacks below recovered with the "
    "stated knowledge and budget. Another attack, more scans or more time may recover more."
)


def summary_section(report: Mapping[str, Any]) -> Markup:
    """What was recovered from each group of victims, in sentences."""
    scope = report["scope"]
    about = (
        f"Attacked were features of {scope['detector']} at layer {scope['split_layer']}, codec {scope['codec']}, "
        f"guard {scope['guard']}; {scope['weights']}."
    )
    groups = [_group(report, group) for group in report["victims"]]
    others = family_sentences(report)
    more = joined([tag("h3", "Objects, places, membership, properties"), bullets(others)]) if others else ""
    return section("summary", "Summary", paragraph(about), *groups, more, _warnings(report), note(LIMIT))


def _group(report: Mapping[str, Any], group: Mapping[str, Any]) -> Markup:
    rows = attack_rows(report, group["name"])
    best = strongest_attack(rows)
    heading = tag("h3", victims_words(group))
    if best is None:
        return joined([heading, paragraph("No attack on these scenes gives back a scan.")])
    sentences = [
        _best(report, group["name"], best),
        _classes(report, group["name"], [row for row in rows if not row.is_guess] or rows),
        _verbatim(rows),
        _cells(rows),
        _nothing(rows),
    ]
    return joined([heading, bullets(sentence for sentence in sentences if sentence)])


def _best(report: Mapping[str, Any], group: str, best: Row) -> Markup:
    estimates = best.estimates
    threshold, measure = middle_threshold(estimates), headline_name(estimates)
    prefix = measure.rpartition("/")[0]
    where = "points above the ground" if prefix else "points"
    recall, precision = (
        mean_of(estimates, f"{prefix}/{word}_{threshold}".lstrip("/")) for word in ("recall", "precision")
    )
    floor, ceiling = (strongest(control_rows(report, group, kind)) for kind in (FLOOR, CEILING))
    parts: list[object] = [
        "Most was recovered by ",
        tag("strong", best.title),
        f", an attacker with {has_words(report, best.threat)}. ",
    ]
    if recall is not None and precision is not None:
        parts.append(
            f"{percent(recall)} of the scans' {where} have a recovered point within {in_metres(threshold)}; "
            f"{percent(precision)} of the recovered {where} lie that close to a true one. "
        )
    parts.append(f"F-score {with_interval(estimates.get(measure))}")
    if floor:
        parts.append(f"; a guess that looks at no payload ({floor.title.removeprefix('floor: ')}) has ")
        parts.append(with_interval(floor.estimates.get(measure)))
    if ceiling:
        parts.append(f", the scan itself {shown(mean_of(ceiling.estimates, measure))}")
    return joined([*parts, ". ", _against(estimates.get(measure), floor, measure)], "")


def _against(estimate: Mapping[str, Any] | None, floor: Row | None, measure: str) -> str:
    """Whether the attack can be told from the floor by the intervals."""
    other = None if floor is None else floor.estimates.get(measure)
    ends = [None if each is None else each.get(end) for each, end in ((estimate, "low"), (other, "high"))]
    if ends[0] is None or ends[1] is None:
        return "There are too few scenes to tell by intervals whether that is more than the guess."
    if ends[0] > ends[1]:
        return "That is more than the guess: the intervals do not overlap."
    return "The intervals overlap: on these scenes it cannot be told from the guess."


def _classes(report: Mapping[str, Any], group: str, rows: list[Row]) -> str:
    """The strongest attack and floor on each class of object."""
    threshold = middle_threshold(rows[-1].estimates)
    floors = control_rows(report, group, FLOOR)
    found = []
    for name in parts_of(list(rows[-1].estimates), "class"):
        measure = f"class/{name}/f_score_{threshold}"
        best, floor = (
            max(some, key=lambda row: mean_of(row.estimates, measure) or 0.0, default=None) for some in (rows, floors)
        )
        if best is None or mean_of(best.estimates, measure) is None:
            continue
        guess = f", a guess {with_interval(floor.estimates.get(measure))}" if floor else ""
        count = best.estimates[measure]["scenes"]
        scenes = "1 scene" if count == 1 else f"{count} scenes"
        found.append(f"{name} {with_interval(best.estimates[measure])} by {best.title}{guess} (in {scenes})")
    return f"F-score on objects at {in_metres(threshold)}: {'; '.join(found)}." if found else ""


def _verbatim(rows: list[Row]) -> str:
    found = [(mean_of(row.estimates, "verbatim_share") or 0.0, row.title) for row in rows]
    share, title = max(found)
    if share == 0:
        return ""
    return f"{percent(share)} of all points of a scan came back to the last bit ({title})."


def _cells(rows: list[Row]) -> str:
    found = [
        (recall, mean_of(row.estimates, "ground_cell_precision") or 0.0, row.title)
        for row in rows
        if row.reads_cells and (recall := mean_of(row.estimates, "ground_cell_recall"))
    ]
    if not found:
        return ""
    recall, precision, title = max(found)
    return (
        f"The coordinates of active cells name {percent(recall)} of the occupied ground cells; {percent(precision)} of "
        f"the cells they name are occupied ({title}). No model is needed for this."
    )


def _nothing(rows: list[Row]) -> str:
    empty = [row.title for row in rows if mean_of(row.estimates, "points") == 0]
    return f"No point was recovered by: {', '.join(empty)}." if empty else ""


def _warnings(report: Mapping[str, Any]) -> Markup | str:
    warnings = []
    effect = report["scope"].get("guard_effect")
    if effect and report["scope"]["guard"] != "none" and not effect["changed"]:
        warnings.append(f"The guard {report['scope']['guard']} changed none of {effect['payloads']} payloads.")
    if "untrained" in report["scope"]["weights"]:
        warnings.append("The detector's weights are seeded and untrained: these are not the features of a fleet.")
    if any(group["is_simulated"] for group in report["victims"]):
        warnings.append("Victims called SIMULATED are scans of a simulated world, not of real streets.")
    if report["effort"] == "quick":
        warnings.append("This is the quick size of the audit: few scenes and small budgets.")
    cut = [each["title"] for each in report["attacks"] if each["cost"].get("is_cut")]
    if cut:
        warnings.append(f"Time ran out before all steps were done: {', '.join(cut)}. With more, they may recover more.")
    return note(tag("strong", "Read with care"), bullets(warnings)) if warnings else ""
