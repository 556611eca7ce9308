"""Tables of what came back: trivial baselines, attacks between floors and ceilings, classes, bands, every measure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from server.audit.page.attacks_picture import attacks_picture
from server.audit.page.markup import Markup, joined, paragraph, section, table, tag
from server.audit.page.numbers import (
    ABOVE,
    CEILING,
    FLOOR,
    band_name,
    cell,
    confidence_of,
    in_metres,
    mean_of,
    measure_name,
    middle_threshold,
    part_name,
    parts_of,
)
from server.audit.page.pictures import image
from server.audit.page.rows import Row, all_rows, attack_rows, control_rows, headline_name, victims_words

HOW_TO_READ = (
    "Means over scenes, in brackets the {} bootstrap interval. F-score, precision and recall go from 0 (nothing came "
    "back) to 1 (everything); for distances, smaller is closer. Floors are guesses that never look at a payload, the "
    "ceiling is the raw scan through the same codec. Most of a scan is road, which a guess finds too: read the column "
    "“above the ground” first."
)


def baselines_section(report: Mapping[str, Any]) -> Markup:
    """Floors, and attacks that train nothing."""
    parts: list[object] = [paragraph(HOW_TO_READ.format(confidence_of(report)))]
    for group in report["victims"]:
        rows = [*control_rows(report, group["name"], FLOOR), *attack_rows(report, group["name"], is_trivial=True)]
        if rows:
            parts.append(_table(f"Trivial baselines. {victims_words(group)}", rows))
    return section("baselines", "Trivial baselines", *parts)


def attacks_section(report: Mapping[str, Any]) -> Markup:
    """All attacks between floors and ceilings, as a picture and as a table."""
    parts: list[object] = []
    for group in report["victims"]:
        floors, ceilings = (control_rows(report, group["name"], kind) for kind in (FLOOR, CEILING))
        own = attack_rows(report, group["name"])
        if not own:
            continue
        trained = attack_rows(report, group["name"], is_trivial=False) or own
        rows = [*floors, *own, *ceilings]
        name = headline_name(own[0].estimates)
        about = (
            f"{victims_words(group)}. {measure_name(name)}, {part_name(name)}, with {confidence_of(report)} intervals"
        )
        picture = image(attacks_picture(rows, name), f"{about}; the numbers are in the table below")
        parts.append(tag("figure", picture, tag("figcaption", about)))
        parts.append(
            _table(f"Attacks between floor and ceiling. {victims_words(group)}", [*floors, *trained, *ceilings])
        )
    return section("attacks", "Attacks", *(parts or [paragraph("No attack gives back a scan.")]))


def parts_section(report: Mapping[str, Any]) -> Markup:
    """By class of object and by distance."""
    parts: list[object] = [
        paragraph("F-scores over the points inside labelled boxes of a class, and over the points of a distance band.")
    ]
    for group in report["victims"]:
        rows = all_rows(report, group["name"])
        parts += [_by(rows, kind, words, group) for kind, words in (("class", "object class"), ("band", "distance"))]
    return section("parts", "By object class and distance", *parts)


def every_measure_section(report: Mapping[str, Any]) -> Markup:
    """All means and intervals of the report."""
    intro = "Every mean of the report with its interval. The numbers of single scenes are in report.json."
    tables = [
        tag("details", tag("summary", victims_words(group)), _every(all_rows(report, group["name"]), group))
        for group in report["victims"]
    ]
    return section("measures", "Every measure", paragraph(intro), joined(tables))


def _table(caption: str, rows: Sequence[Row]) -> Markup:
    estimates = rows[-1].estimates
    threshold = middle_threshold(estimates)
    names = [f"f_score_{threshold}", f"{ABOVE}f_score_{threshold}", f"{ABOVE}recall_{threshold}", "chamfer_m"]
    names += ["hausdorff_95_m", "verbatim_share"]
    names = [name for name in names if any(name in row.estimates for row in rows)]
    heads = ["what", "threat", *(f"{measure_name(name)}{_where(name)}" for name in names)]
    body = [[row.title, row.threat or "–", *(cell(row.estimates.get(name)) for name in names)] for row in rows]
    return table(caption, heads, body)


def _where(name: str) -> str:
    return ", above the ground" if name.startswith(ABOVE) else ""


def _by(rows: Sequence[Row], kind: str, words: str, group: Mapping[str, Any]) -> Markup | str:
    every = list(dict.fromkeys(name for row in rows for name in row.estimates))
    values = parts_of(every, kind)
    if not rows or not values:
        return ""
    threshold = middle_threshold(rows[-1].estimates)
    names = [f"{kind}/{value}/f_score_{threshold}" for value in values]
    heads = ["what", *(_head(kind, value, rows, name) for value, name in zip(values, names, strict=True))]
    body = [[row.title, *(cell(row.estimates.get(name)) for name in names)] for row in rows]
    return table(f"F-score at {in_metres(threshold)} by {words}. {victims_words(group)}", heads, body)


def _head(kind: str, value: str, rows: Sequence[Row], name: str) -> str:
    scenes = max((row.estimates.get(name, {}).get("scenes", 0) for row in rows), default=0)
    shown = band_name(value) if kind == "band" else value
    return f"{shown} (in {scenes} scenes)"


def _every(rows: Sequence[Row], group: Mapping[str, Any]) -> Markup:
    names = list(dict.fromkeys(name for row in rows for name in row.estimates))
    heads = ["part of the scene", "measure", *(row.title for row in rows)]
    body = [
        [part_name(name), measure_name(name), *(cell(row.estimates.get(name)) for row in rows)]
        for name in names
        if any(mean_of(row.estimates, name) is not None for row in rows)
    ]
    return table(f"Every measure. {victims_words(group)}", heads, body, kind="dense")
