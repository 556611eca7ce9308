"""The picture of a curve: AP after training against what the strongest attack brings back. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from shared_models.visualisation.figure import as_png, new_figure

Table = Mapping[str, Any]

_WIDTH_INCHES, _HEIGHT_INCHES = 5.2, 4.6
_DRAWN: Final = 2  # measures, side by side
_MARKS: Final = "osD^vP*Xph<>d"
# Colours that stay apart for eyes that see few: P. Tol's "bright" scheme.
_COLOURS: Final = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377")
_TITLES: Final = {
    "f_score_0.2m": "F-score at 0.2 m, whole scene",
    "above_ground/f_score_0.2m": "F-score at 0.2 m, above ground",
    "class/Car/f_score_0.2m": "F-score at 0.2 m, on cars",
}


def draw_curve(curve: Table, group: str) -> bytes:
    """The picture as PNG, of one group of victims: a mark and its two intervals for each finished cell.

    Vertical lines are floors and ceiling of the attacks, horizontal ones the starting checkpoint and the controls.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    measures = list(curve["measures"])[:_DRAWN]
    figure = new_figure(_WIDTH_INCHES * len(measures) + 2.4, _HEIGHT_INCHES)
    figure.suptitle(_title(curve, group), fontsize=10)
    handles: dict[str, Any] = {}
    for place, measure in enumerate(measures, start=1):
        axes = figure.add_subplot(1, len(measures), place)
        _draw_lines(axes, curve, group, measure, handles)
        _draw_cells(axes, curve, group, measure, handles)
        axes.set_xlabel(f"{_TITLES.get(measure, measure)}\nof the strongest attack (left: less came back)", fontsize=8)
        axes.grid(alpha=0.3)
        if place == 1:
            axes.set_ylabel(f"AP after training (%)\n{curve['training']['metrics'][0]}", fontsize=8)
    if handles:
        figure.legend(handles.values(), handles.keys(), loc="outside right upper", fontsize=7, frameon=False)
    return as_png(figure)


def _title(curve: Table, group: str) -> str:
    victims = next(each for each in curve["audit"]["victims"] if each["name"] == group)
    evaluation = curve["training"]["evaluation"]
    return _plain(
        f"What guards cost: {curve['name']}\n"
        f"victims: {victims['scenes']} {_kind(victims)} scenes, {victims['relation']}; AP on {evaluation['frames']} "
        f"{_kind(evaluation)} scans, {curve['training']['steps']} steps"
    )


def _kind(table: Table) -> str:
    return "SIMULATED" if table["is_simulated"] else "real"


def _draw_cells(axes: Any, curve: Table, group: str, measure: str, handles: dict[str, Any]) -> None:
    metric = curve["training"]["metrics"][0]
    for number, cell in enumerate(curve["cells"]):
        if cell["state"] != "finished" or metric not in cell["ap"] or measure not in cell["leakage"].get(group, {}):
            continue
        x, y = cell["leakage"][group][measure]["estimate"], cell["ap"][metric]
        if x["mean"] is None or y["mean"] is None:
            continue
        handles[_label(cell)] = axes.errorbar(
            x["mean"],
            y["mean"],
            xerr=_reach(x),
            yerr=_reach(y),
            fmt=_MARKS[number % len(_MARKS)],
            color=_COLOURS[number % len(_COLOURS)],
            markersize=6,
            elinewidth=0.8,
            capsize=2,
        )


def _label(cell: Table) -> str:
    return _plain(f"{cell['name']} ({cell['codec']}, {cell['bytes_per_scene'] / 1e3:.0f} kB)")


def _plain(name: str) -> str:
    """Without what matplotlib would read as a formula."""
    return name.replace("$", r"\$")


def _reach(estimate: Table) -> Sequence[Sequence[float]] | None:
    if estimate["low"] is None or estimate["high"] is None:
        return None
    mean = estimate["mean"]
    return [[max(mean - estimate["low"], 0.0)], [max(estimate["high"] - mean, 0.0)]]


def _draw_lines(axes: Any, curve: Table, group: str, measure: str, handles: dict[str, Any]) -> None:
    styles = {"floors": ":", "ceilings": "--"}
    for which, style in styles.items():
        for number, (name, estimates) in enumerate(sorted(curve[which].get(group, {}).items())):
            estimate = estimates.get(measure)
            if estimate is not None and estimate["mean"] is not None:
                colour = ("0.35", "0.6")[number % 2]
                handles[_plain(f"{which[:-1]}: {name}")] = axes.axvline(
                    estimate["mean"], color=colour, linestyle=style, lw=1
                )
    metric = curve["training"]["metrics"][0]
    trained = [("before training", curve["start"]), *((each["name"], each["ap"]) for each in curve["controls"])]
    for number, (name, numbers) in enumerate(trained):
        if metric in numbers and numbers[metric]["mean"] is not None:
            colour = ("#bbbbbb", "#aa8855", "#558855")[number % 3]
            handles[_plain(name)] = axes.axhline(numbers[metric]["mean"], color=colour, linestyle="-.", lw=1)
