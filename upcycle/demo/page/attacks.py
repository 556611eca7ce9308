"""What the attacks on the uploads brought back."""

from __future__ import annotations

from html import escape
from typing import Any, Final

from upcycle.demo.page.markup import Cell, Numbers, hundredth, read_file, seconds, table, whole

MEASURES: Final = (
    ("f_score_0.2m", "F-score at 0.2 m"),
    ("above_ground/f_score_0.2m", "above ground"),
    ("class/Car/f_score_0.2m", "on cars"),
    ("chamfer_m", "Chamfer, m"),
)


WORDS: Final = {
    "floor: random points": "as many points as the scan has, anywhere",
    "floor: mean scene": "where the attacker's own scans usually have points; the same guess for every payload",
    "active_cells": "the middle of each active cell; active_cells, filled: several points in it",
    "occupancy": "a network trained on the attacker's own scans says which places are occupied",
    "ceiling: raw points": "the scan itself through the same codec",
}


def section(results: dict[str, Any]) -> str:
    """Floors, attacks and ceiling for each vehicle's scans; what was not tested."""
    n, report = Numbers(results), results["audit"]["report"]
    scope = report["scope"]
    tables = [_group(n, report, place) for place in range(len(report["victims"]))]
    audited = n.show(whole, "audit", "audited_payloads")
    identical = n.show(whole, "audit", "identical_payloads")
    cuts = [escape(each["title"]) for each in report["attacks"] if each["cost"]["is_cut"]]
    cut = f"<p>Time ran out for: {', '.join(cuts)}; with more, they may recover more.</p>" if cuts else ""
    missing = "; ".join(escape(text) for text in report["not_tested"])
    return f"""
<h2>4. What the uploads give away</h2>
<p>A quick audit of what the fleet uploaded: codec {escape(scope["codec"])}, guard {escape(scope["guard"])}, backbone
{escape(scope["backbone_hash"][:12])}. {identical} of the {audited} audited payloads are stored by the server with every
byte the same. The numbers are points of the scan that an attack brings back: an F-score of 1 is every point to within
0.2 m and none beside; most points lie on the road, which looks alike everywhere, so read <b>above ground</b> and
<b>on cars</b> first. Floors know nothing of the payload; the ceiling is the scan itself. Attackers had
{n.show(whole, "audit", "report", "attacker", "scenes")} scans of their own and little time
({n.show(seconds, "audit", "report", "cost", "seconds")} for all): this is not an upper bound, and no statement that
features are a safe form of a scan.</p>
{"".join(tables)}{_words()}{cut}
<p>Not tested: {missing}.</p>{_more(results)}"""


def _words() -> str:
    lines = "".join(f"<li><b>{escape(name)}</b>: {escape(words)}</li>" for name, words in WORDS.items())
    return f"<ul>{lines}</ul>"


def _group(n: Numbers, report: dict[str, Any], place: int) -> str:
    group = report["victims"][place]
    name = group["name"]
    rows = []
    controls = report["controls"]
    floors = sorted((title for title in controls if title.startswith("floor")), reverse=True)
    for title in floors:
        rows.append(_row(n, title, ("audit", "report", "controls", title, name)))
    for number, each in enumerate(report["attacks"]):
        if name in each["groups"]:
            rows.append(_row(n, each["title"], ("audit", "report", "attacks", number, "groups", name)))
    for title in controls:
        if title not in floors:
            rows.append(_row(n, title, ("audit", "report", "controls", title, name)))
    heads = ("what", *(words for _, words in MEASURES))
    caption = (
        f"{name}: {len(group['scenes'])} SIMULATED scans; {group['relation']}. Mean, and range of 95 % of the draws."
    )
    return table(heads, rows, caption)


def _row(n: Numbers, title: str, path: tuple[str | int, ...]) -> list[Cell]:
    return [escape(title), *(_cell(n, (*path, "estimates"), measure) for measure, _ in MEASURES)]


def _cell(n: Numbers, path: tuple[str | int, ...], measure: str) -> Cell:
    found = n.at(*path).get(measure)
    if found is None or found["mean"] is None:
        return "–"
    mean = n.show(hundredth, *path, measure, "mean")
    if found["low"] is None:
        return mean
    low, high = (n.show(hundredth, *path, measure, part) for part in ("low", "high"))
    return f'{mean}<br><span class="interval">{low} to {high}</span>'


def _more(results: dict[str, Any]) -> str:
    """The audit's own page inside this one."""
    page = escape(read_file(results["audit"]["page"]).decode())
    about = "The audit's own page, with what was restored beside the scans"
    return f'<details><summary>{about}</summary><iframe title="{about}" srcdoc="{page}"></iframe></details>'
