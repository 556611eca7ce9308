"""The picture of an analysis of augmentations: one box plot for each way to take the mean. Needs matplotlib."""

from __future__ import annotations

from typing import Final

from shared_models.visualisation.figure import as_png, new_figure
from upcycle.augmentation_analysis import AugmentationAnalysis

_WIDTH_INCHES: Final = 3.2
_COLOURS: Final = ("#4477aa", "#88aacc", "#ccaa44", "#66aa66")


def draw(found: AugmentationAnalysis) -> bytes:
    """The picture as PNG: boxes from quartile to quartile, whiskers to the outermost scene within 1.5 of that.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    columns = found.columns
    figure = new_figure(_WIDTH_INCHES * len(columns), 4)
    figure.suptitle(f"Augmented features against features of augmented points\n{found.title}", fontsize=10)
    for place, column in enumerate(columns, start=1):
        axes = figure.add_subplot(1, len(columns), place)
        names = [name for name in found.augmentations if found.finite(name, column)]
        drawn = axes.boxplot(
            [found.finite(name, column) for name in names], patch_artist=True, widths=0.6, flierprops={"markersize": 3}
        )
        for patch, name in zip(drawn["boxes"], names, strict=True):
            patch.set_facecolor(_COLOURS[found.augmentations.index(name) % len(_COLOURS)])
        for line in drawn["medians"]:
            line.set_color("black")
        axes.set_xticks(range(1, len(names) + 1), [name.replace(" ", "\n", 1) for name in names], fontsize=8)
        axes.set_title(column, fontsize=10)
        axes.set_ylim(bottom=0)
        axes.grid(axis="y", alpha=0.3)
        if place == 1:
            axes.set_ylabel("RMSE of a scene")
    return as_png(figure)
