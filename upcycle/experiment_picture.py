"""The picture of an experiment: every cell, and each method's mean with its interval. Needs matplotlib."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from server.training.cell_results import CellResult
from server.training.experiment import ExperimentConfig
from server.training.experiment_table import summary
from shared_models.visualisation.figure import as_png, new_figure

_PANEL_INCHES: Final = 3.0
_NAMES_INCHES: Final = 1.8
_ROW_INCHES: Final = 0.32
_CELL, _MEAN = "#88aacc", "#22446a"
_WORDS: Final = {"3d": "3D", "bev": "from above", "strict": "strict overlap", "loose": "loose overlap"}


def draw(results: Sequence[CellResult], config: ExperimentConfig, is_simulated: bool) -> bytes:
    """The picture as PNG, one panel for each metric, methods from above in the order of the file.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    found = summary(results, config)
    methods = [method.name for method in config.methods if method.name in found]
    width = _NAMES_INCHES + _PANEL_INCHES * len(config.metrics)
    figure = new_figure(width, 1.4 + _ROW_INCHES * len(methods))
    kind = ", SIMULATED scans" if is_simulated else ""
    figure.suptitle(
        f"{config.name}{kind}: {len(results)} cells, means with {config.confidence:.0%} intervals (Student's t)",
        fontsize=10,
    )
    for place, metric in enumerate(config.metrics, start=1):
        axes = figure.add_subplot(1, len(config.metrics), place)
        for row, method in enumerate(methods):
            values = [each.numbers[metric] for each in results if each.method == method and metric in each.numbers]
            axes.plot(values, [row] * len(values), "o", color=_CELL, markersize=4)
            if metric in found[method]:
                mean = found[method][metric]
                half = 0.0 if math.isnan(mean.half_width) else mean.half_width
                axes.errorbar(mean.mean, row, xerr=half, fmt="|", color=_MEAN, markersize=9, capsize=3)
        axes.set_yticks(range(len(methods)), methods if place == 1 else [""] * len(methods), fontsize=8)
        axes.set_ylim(len(methods) - 0.5, -0.5)
        axes.set_title(metric_name(metric), fontsize=9)
        axes.grid(axis="x", alpha=0.3)
        axes.set_xlabel("AP, %", fontsize=8)
    return as_png(figure)


def metric_name(metric: str) -> str:
    """A metric's name for people, as "car, 3D, strict overlap, moderate"."""
    kind, *parts = metric.split("/")
    if kind != "ap_all":
        return metric
    overlap, label, space, difficulty = parts
    return f"{label}, {_WORDS[space]}, {_WORDS[overlap]}, {difficulty}"
