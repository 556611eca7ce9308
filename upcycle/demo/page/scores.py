"""AP before and after: tables, what they say, and pictures."""

from __future__ import annotations

import base64
from html import escape
from typing import Any, Final

from upcycle.demo.page import ranges
from upcycle.demo.page.markup import Cell, Form, Numbers, card, read_file, signed, table, tenth, whole

HEADLINE: Final = "ap_all/loose/car/3d/moderate"
METRICS: Final = (
    ("ap_all/loose/{}/3d/moderate", "3D, loose"),
    ("ap_all/strict/{}/bev/moderate", "from above, strict"),
    ("ap_all/strict/{}/3d/moderate", "3D, strict"),
)
OVERLAPS: Final = "strict: 0.7 for cars, 0.5 for the others (KITTI's); loose: 0.5 and 0.25"


def section(results: dict[str, Any]) -> str:
    """The table, what it says, and the pictures."""
    found, n = results["precision"], Numbers(results)
    has_control = "control" in found
    columns = ["before", "after", "gain", *(("control", "gain_over_control") if has_control else ())]
    heads = ["", "before", "after", "after − before", *(("control", "after − control") if has_control else ())]
    rows = []
    for class_name, objects in found["objects"].items():
        for place, (pattern, words) in enumerate(METRICS):
            name = pattern.format(class_name.casefold())
            count = n.show(whole, "precision", "objects", class_name)
            about = f"<b>{escape(class_name)}</b> ({count}), " if place == 0 and objects is not None else ""
            rows.append([about + escape(words), *(_cell(n, column, name) for column in columns)])
    return f"""
<h2>3. AP before and after</h2>
<p>{n.show(whole, "precision", "frames")} scans of other drives in the target city, which nobody learned from. All-point
average precision in percent, moderate objects; below each number the range of 95 % of
{n.show(whole, "precision", "rounds")} draws of these scans. {escape(OVERLAPS)}.</p>
{_verdict(results)}
{_drawing(found)}
{table(heads, rows, "In brackets: objects that count. Neighbouring scans are alike: the ranges are rather too narrow.")}
{_warnings(found["warnings"])}
<h3>Scans of the target city from above, before and after</h3>
<p>Colours: labels. White, dashed: detections from the score of the best F1 on. The setting looks 35 m ahead and 20 m to
each side.</p>
{"".join(_pair(n, place, picture) for place, picture in enumerate(found["pictures"]))}"""


def _drawing(found: dict[str, Any]) -> str:
    """The cars' rows of the table, drawn."""
    words = [word for word in ("before", "after", "control") if word in found]
    names = [(title, pattern.format("car")) for pattern, title in METRICS]
    return ranges.drawing(
        [
            (f"Car, {title}", {word: found[word][name] for word in words})
            for title, name in names
            if found["gain"][name]["value"] is not None
        ]
    )


def _warnings(lines: list[str]) -> str:
    shown = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<details><summary>Read with care</summary><ul>{shown}</ul></details>" if lines else ""


def short_verdict(results: dict[str, Any]) -> str:
    """One sentence on the headline number, for the top of the page."""
    found, n = results["precision"], Numbers(results)
    if not _has(found, "gain"):
        return "No car counted among the held-out scans, so there is no AP of cars."
    before, after = (n.show(tenth, "precision", word, HEADLINE, "value") for word in ("before", "after"))
    text = f"On drives that nobody learned from, AP of cars (3D, overlap 0.5) went from {before} to {after}"
    if "control" in found:
        control = n.show(tenth, "precision", "control", HEADLINE, "value")
        text += f"; the same training without the uploads leads to {control}"
    return f"{text}."


def _has(found: dict[str, Any], column: str) -> bool:
    return column in found and HEADLINE in found[column] and found[column][HEADLINE]["value"] is not None


def score_cards(results: dict[str, Any]) -> list[str]:
    """The headline number before and after, large."""
    if not _has(results["precision"], "gain"):
        return []
    n = Numbers(results)
    before, after = (n.show(tenth, "precision", word, HEADLINE, "value") for word in ("before", "after"))
    return [card(f"{before} → {after}", "AP of cars in the target city, 3D, overlap 0.5, before and after")]


def _verdict(results: dict[str, Any]) -> str:
    """Every row of the table that is beyond its range, better or worse; the others say nothing."""
    found = results["precision"]
    lines = []
    for column, words in (("gain", "before"), ("gain_over_control", "the control")):
        if column in found:
            better, worse = (_beyond(results, column, sign) or "nothing" for sign in (1, -1))
            lines.append(f"Against {words}, beyond the range of the draws: better in {better}; worse in {worse}.")
    text = " ".join(lines)
    return f'<p class="says">{text} The other differences these scans cannot tell. One seed, one short training.</p>'


def _beyond(results: dict[str, Any], column: str, sign: int) -> str:
    """Rows whose whole range is above 0 (sign 1) or below (sign -1), with their numbers."""
    found, n = results["precision"], Numbers(results)
    rows = []
    for class_name in found["objects"]:
        for pattern, words in METRICS:
            name = pattern.format(class_name.casefold())
            interval = found[column][name]
            if interval["value"] is not None and min(sign * interval["low"], sign * interval["high"]) > 0:
                value = n.show(signed, "precision", column, name, "value")
                rows.append(f"<b>{escape(class_name)}</b> {escape(words)} ({value})")
    return ", ".join(rows)


def _cell(n: Numbers, column: str, name: str) -> Cell:
    if n.at("precision", column, name, "value") is None:
        return "–"
    form: Form = signed if column.startswith("gain") else tenth
    value, low, high = (n.show(form, "precision", column, name, part) for part in ("value", "low", "high"))
    return f'{value}<br><span class="interval">{low} to {high}</span>'


def _pair(n: Numbers, place: int, picture: dict[str, Any]) -> str:
    path = ("precision", "pictures", place)
    images = "".join(f"<div>{name}{_image(picture[name]['file'], name)}</div>" for name in ("before", "after"))
    counts = "; ".join(
        f"{name}: {n.show(whole, *path, name, 'found')} found, {n.show(whole, *path, name, 'missed')} missed, "
        f"{n.show(whole, *path, name, 'false_alarms')} false alarms"
        for name in ("before", "after")
    )
    about = f"{escape(picture['why'])}: {escape(picture['frame_id'])}, SIMULATED. {counts}"
    return f'<figure><div class="pair">{images}</div><figcaption>{about}</figcaption></figure>'


def _image(file: str, alt: str) -> str:
    data = base64.b64encode(read_file(file)).decode()
    return f'<img alt="{escape(alt)}" src="data:image/png;base64,{data}">'
