"""A picture of detection quality over leakage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from server.audit.page.numbers import mean_of, measure_name, part_name
from server.audit.page.pictures import as_png, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

POINT, LINE, FAINT = "#d55e00", "#0072b2", "#5b6472"  # Okabe and Ito, and a grey
INCHES: Final = (7.6, 4.6)


def curve_picture(curve: Mapping[str, Any], group: str) -> bytes:
    """A PNG: a numbered mark for each finished cell, AP of start and controls as lines across, floors as lines up."""
    metric, measure = curve["training"]["metrics"][0], curve["measures"][0]
    figure = new_figure(*INCHES)
    axes = figure.subplots()
    cells = [each for each in curve["cells"] if each["state"] == "finished"]
    for number, each in enumerate(cells, 1):
        leaked = each["leakage"].get(group, {}).get(measure)
        if leaked is not None and mean_of(each["ap"], metric) is not None:
            _mark(axes, str(number), leaked["estimate"], each["ap"][metric])
    _lines(axes, curve, group)
    axes.set_xlabel(f"given away: {measure_name(measure)}, {part_name(measure)}", fontsize=9, parse_math=False)
    axes.set_ylabel("AP after training, %", fontsize=9)
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8, loc="best")
    return as_png(figure)


def _mark(axes: Axes, name: str, leaked: Mapping[str, Any], ap: Mapping[str, Any]) -> None:
    x, y = leaked["mean"], ap["mean"]
    if x is None or y is None:
        return
    for estimate, is_x in ((leaked, True), (ap, False)):
        if estimate.get("low") is not None and estimate.get("high") is not None:
            ends = [estimate["low"], estimate["high"]]
            axes.plot(ends if is_x else [x, x], [y, y] if is_x else ends, color=POINT, linewidth=1, alpha=0.5)
    axes.plot([x], [y], "o", color=POINT, markersize=6)
    axes.annotate(name, (x, y), xytext=(6, 5), textcoords="offset points", fontsize=9, weight="bold")


def _lines(axes: Axes, curve: Mapping[str, Any], group: str) -> None:
    metric, measure = curve["training"]["metrics"][0], curve["measures"][0]
    across = [("start", curve["start"], "--"), *((c["name"], c["ap"], ":") for c in curve["controls"])]
    for name, ap, style in across:
        value = mean_of(ap, metric)
        if value is not None:
            axes.axhline(value, color=LINE, linestyle=style, linewidth=1, label=f"AP: {_plain(name)}")
    for place, (name, found) in enumerate(curve["floors"].get(group, {}).items()):
        value = mean_of(found, measure)
        if value is not None:
            style = ("-", "-.")[place % 2]
            axes.axvline(value, color=FAINT, linestyle=style, linewidth=1, label=f"floor: {_plain(name)}")


def _plain(name: str) -> str:
    """Without what matplotlib would read as a formula."""
    return name.replace("$", r"\$")
