"""One HTML page about an evaluation, with its pictures inside: scores, curves, distances, best and worst frames."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import Final

from server.evaluation.kitti_config import ORIENTED
from server.evaluation.kitti_report import FrameOutcome, KittiReport
from server.evaluation.objects import EvaluatedFrame
from server.evaluation.report_pictures import curves_picture, distance_picture, frame_picture
from server.evaluation.waymo import WaymoReport
from shared_models.errors import NotFoundError, StorageError
from shared_models.records import Frame

SHOWN_FRAMES: Final = 3  # of the best, and of the worst

STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1b2330; max-width: 1320px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .8rem; text-align: right; border-bottom: 1px solid #d8dee8; }
th:first-child, td:first-child { white-space: nowrap; }
th:first-child, td:first-child, th:nth-child(2), td:nth-child(2) { text-align: left; }
th { background: #eef2f7; } tr.first td { border-top: 2px solid #9aa7ba; }
img { max-width: 100%; height: auto; } figure { margin: 0; } figcaption { font-size: .85rem; }
.frames { display: grid; grid-template-columns: repeat(auto-fill, minmax(380px, 1fr)); gap: 1rem; }
.warnings { background: #fff6dd; border-left: 4px solid #e69f00; padding: .6rem 1rem; }
"""


def write_report(
    path: Path,
    report: KittiReport,
    frames: Sequence[EvaluatedFrame],
    title: str,
    frame_of: Callable[[str], Frame] | None = None,
    waymo: WaymoReport | None = None,
) -> None:
    """Write the page; it needs no other file and no network.

    frames: those that `report` is about.
    title: names detector and dataset, and says so where the data are simulated.
    frame_of: gives a frame with its points by name; without, pictures of frames have boxes only.
    waymo: the same frames by Waymo's rules, for one more table.

    Raises:
        MissingDependencyError: matplotlib is not installed.
        StorageError: the file cannot be written.
    """
    page = html_page(report, frames, title, frame_of, waymo)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror}") from error


def html_page(
    report: KittiReport,
    frames: Sequence[EvaluatedFrame],
    title: str,
    frame_of: Callable[[str], Frame] | None = None,
    waymo: WaymoReport | None = None,
) -> str:
    """The page as text; arguments as in `write_report`."""
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{len(frames):,} frames. AP in percent; in brackets the number of objects that count.</p>",
        _warnings(report),
        "<h2>Average precision</h2>",
        _score_table(report),
        "" if waymo is None else _waymo_table(waymo),
        "<h2>Precision and recall</h2>",
        "<p>Precision is the highest at this recall or a larger one; its area, all-point AP, is in the legend.</p>",
        _picture(curves_picture(report), "precision over recall"),
    ]
    if report.by_distance:
        parts += ["<h2>By distance</h2>", _picture(distance_picture(report), "average precision by distance")]
    best, worst = best_and_worst(report.outcomes)
    known = {frame.frame_id: frame for frame in frames}
    for heading, chosen in (("Best frames", best), ("Worst frames", worst)):
        parts += [f"<h2>{heading}</h2>", _threshold_note(report), '<div class="frames">']
        parts += [_frame(outcome, known[outcome.frame_id], report, frame_of) for outcome in chosen]
        parts.append("</div>")
    body = "\n".join(parts)
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n'


def best_and_worst(
    outcomes: Sequence[FrameOutcome], most: int = SHOWN_FRAMES
) -> tuple[list[FrameOutcome], list[FrameOutcome]]:
    """At most so many frames with the highest F1, most objects found first, and with the lowest, most errors first.

    Frames in which nothing counts are left out, and no frame is in both lists.
    """
    counted = [outcome for outcome in outcomes if not math.isnan(outcome.f1)]
    best = sorted(counted, key=lambda o: (-o.f1, -o.found, o.frame_id))[: min(most, (len(counted) + 1) // 2)]
    others = [outcome for outcome in counted if outcome not in best]
    return best, sorted(others, key=lambda o: (o.f1, -o.missed - o.false_alarms, o.frame_id))[:most]


def _warnings(report: KittiReport) -> str:
    if not report.warnings:
        return ""
    lines = "".join(f"<li>{escape(warning)}</li>" for warning in report.warnings)
    return f'<div class="warnings"><strong>Read with care</strong><ul>{lines}</ul></div>'


def _score_table(report: KittiReport) -> str:
    difficulties = [difficulty.name for difficulty in report.config.difficulties]
    kinds = (("R40", "ap_r40"), ("all points", "ap_all"), ("R11", "ap_r11"))
    heads = "".join(f"<th>{escape(name)}, {kind}</th>" for kind, _ in kinds for name in difficulties)
    rows = []
    for rule in report.config.classes:
        names = [name for metric in report.config.metrics for name in (metric, ORIENTED[metric])]
        for place, metric in enumerate(names):
            scores = [report.score(rule.name, metric, name) for name in difficulties]
            about = f"{escape(rule.name)} ({', '.join(str(s.objects) for s in scores)})" if place == 0 else ""
            cells = "".join(f"<td>{_percent(getattr(score, field))}</td>" for _, field in kinds for score in scores)
            rows.append(f'<tr class="{"first" if place == 0 else ""}"><td>{about}</td><td>{metric}</td>{cells}</tr>')
    return f"<table><thead><tr><th>class</th><th>metric</th>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _waymo_table(report: WaymoReport) -> str:
    heads = "".join(f"<th>{name}</th>" for name in ("class", "level", "objects", "AP", "APH"))
    rows = "".join(
        f"<tr><td>{escape(score.class_name)}</td><td>{score.level.upper()}</td><td>{score.objects}</td>"
        f"<td>{_percent(score.ap)}</td><td>{_percent(score.aph)}</td></tr>"
        for score in report.scores
    )
    table = f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
    return f"<h2>Average precision by Waymo's rules, 3D</h2>\n{table}"


def _percent(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2f}"


def _threshold_note(report: KittiReport) -> str:
    shown = ", ".join(f"{escape(name)} {score:.3f}" for name, score in report.thresholds.items()) or "none"
    return f"<p>Detections from the score of the best F1 on: {shown}.</p>"


def _frame(
    outcome: FrameOutcome, evaluated: EvaluatedFrame, report: KittiReport, frame_of: Callable[[str], Frame] | None
) -> str:
    frame = None if frame_of is None else frame_of(outcome.frame_id)
    if frame is not None and frame.frame_id != outcome.frame_id:
        raise NotFoundError(f"report: asked for frame {outcome.frame_id}, got {frame.frame_id}")
    picture = frame_picture(evaluated, frame, report.thresholds)
    counts = f"{outcome.found} found, {outcome.missed} missed, {outcome.false_alarms} false alarms"
    caption = f"{escape(outcome.frame_id)}: {counts}, F1 {outcome.f1:.2f}"
    return f"<figure>{_picture(picture, outcome.frame_id)}<figcaption>{caption}</figcaption></figure>"


def _picture(png: bytes, alt: str) -> str:
    return f'<img alt="{escape(alt)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'
