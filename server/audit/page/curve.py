"""Leakage against detection quality, over guards and codecs: docs/audit-curve.schema.json is the form of its file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from server.audit.curve.curve_picture import draw_curve
from server.audit.page.markup import Amount, Markup, joined, paragraph, section, table, tag
from server.audit.page.numbers import cell, measure_name, part_name, shown
from server.audit.page.pictures import image
from server.audit.page.rows import victims_words
from shared_models.errors import ConfigError

SCHEMA: Final = "upcycle.audit-curve.v1"
NEEDED: Final = ("training", "audit", "measures", "start", "controls", "floors", "ceilings", "cells")
FINISHED: Final = "finished"
ABOUT: Final = (
    "Each guard and codec once: a short training on what it leaves, and attackers who are trained against it. AP is in "
    "percent; leakage is that of the strongest attack by that measure. Left is less given away, up is better detection."
)


def curve_section(curve: Any) -> Markup:
    """A picture and a table for each group of victims.

    Raises:
        ConfigError: it has another form.
    """
    missing = [name for name in NEEDED if not isinstance(curve, Mapping) or name not in curve]
    if missing or curve.get("schema") != SCHEMA:
        raise ConfigError(f"--curve: expected a file of schema {SCHEMA}; {', '.join(missing) or 'another schema'}")
    metrics, measures = list(curve["training"]["metrics"]), list(curve["measures"])
    if not metrics or not measures:
        raise ConfigError("--curve: expected at least one metric and one measure")
    parts: list[object] = [paragraph(ABOUT), _setting(curve)]
    for group in curve["audit"]["victims"]:
        title = victims_words({**group, "scenes": range(int(group["scenes"]))})
        about = f"{title}. {_metric(metrics[0])} over {_measure(measures[0])}, with 95 % intervals"
        picture = image(draw_curve(curve, group["name"]), f"{about}; the numbers are in the table below")
        parts.append(tag("figure", picture, tag("figcaption", f"{about}.")))
        parts.append(_table(curve, group["name"], title))
    parts += [_not_finished(curve), _decisions(curve)]
    return section("curve", "Leakage against detection quality", *parts)


def _setting(curve: Mapping[str, Any]) -> Markup:
    training, audit = curve["training"], curve["audit"]
    frames = training["evaluation"]
    kind = "SIMULATED" if frames["is_simulated"] else "real"
    return paragraph(
        f"Detector: {curve.get('scope', {}).get('detector', 'not stated')}. Training: {training['run_file']}, "
        f"{training['steps']:,} steps; AP on {frames['frames']:,} {kind} frames of {frames['dataset']}. "
        f"Attacks ({audit['effort']}): {', '.join(audit['attacks'])}."
    )


def _table(curve: Mapping[str, Any], group: str, title: str) -> Markup:
    metrics, measures = list(curve["training"]["metrics"]), list(curve["measures"])
    heads = ["row", "guard and codec", *map(_metric, metrics), *map(_measure, measures), "bytes a scene"]
    rows: list[list[object]] = [_ap_only("start", "starting checkpoint, before training", curve["start"], curve)]
    rows += [_ap_only("control", control["name"], control["ap"], curve) for control in curve["controls"]]
    rows += [_leak_only("floor", name, of, curve) for name, of in curve["floors"].get(group, {}).items()]
    for number, each in enumerate(finished(curve), 1):
        leaked = each["leakage"].get(group, {})
        rows.append(
            [
                str(number),
                joined([tag("span", each["name"]), tag("small", f"{each['guard']}, {each['codec']}")], ""),
                *(cell(each["ap"].get(metric)) for metric in metrics),
                *(_strongest(leaked.get(measure)) for measure in measures),
                Amount(shown(each["bytes_per_scene"])),
            ]
        )
    rows += [_leak_only("ceiling", name, of, curve) for name, of in curve["ceilings"].get(group, {}).items()]
    return table(f"Guards and codecs. {title}", heads, rows)


def finished(curve: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The cells with numbers, in the file's order."""
    return [each for each in curve["cells"] if each["state"] == FINISHED]


def _ap_only(kind: str, name: str, ap: Mapping[str, Any], curve: Mapping[str, Any]) -> list[object]:
    none = [Amount("–")] * len(curve["measures"])
    return [kind, name, *(cell(ap.get(metric)) for metric in curve["training"]["metrics"]), *none, Amount("–")]


def _leak_only(kind: str, name: str, found: Mapping[str, Any], curve: Mapping[str, Any]) -> list[object]:
    none = [Amount("–")] * len(curve["training"]["metrics"])
    return [kind, name, *none, *(cell(found.get(measure)) for measure in curve["measures"]), Amount("–")]


def _strongest(found: Mapping[str, Any] | None) -> Amount:
    if found is None:
        return cell(None)
    return Amount(cell(found["estimate"]) + tag("small", f"{found['attack']}"))


def _metric(name: str) -> str:
    """ "ap_all/strict/car/3d/moderate" in words."""
    words = name.split("/")
    kind = {"ap_all": "AP", "ap_r40": "AP R40", "ap_r11": "AP R11"}.get(words[0], words[0])
    return f"{kind}, {', '.join(words[1:])}"


def _measure(name: str) -> str:
    return f"{measure_name(name)}, {part_name(name)}"


def _not_finished(curve: Mapping[str, Any]) -> Markup | str:
    rows = [
        [each["name"], each["guard"], each["codec"], each["state"], each.get("error", "")]
        for each in curve["cells"]
        if each["state"] != FINISHED
    ]
    return table("Without numbers", ["name", "guard", "codec", "state", "why"], rows) if rows else ""


def _decisions(curve: Mapping[str, Any]) -> Markup | str:
    rows: list[Sequence[object]] = [
        [each["name"], *(found[key] for key in ("kind", "group", "attack", "measure")), cell(found["estimate"])]
        for each in finished(curve)
        for found in each.get("decisions", ())
    ]
    heads = ["guard and codec", "kind", "group", "attack", "measure", "number"]
    return table("Places, membership and properties, by guard", heads, rows) if rows else ""
