"""Drawings of one cloud: from above, and as from a camera behind and above the sensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from server.audit.page.pictures import as_small_png
from shared_models.visualisation.figure import new_figure
from shared_models.visualisation.palette import BACKGROUND, FAINT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HEIGHTS_M: Final = (-1.0, 3.0)  # above the ground: what the colours span, so that the ground is not the darkest
GROUND_PERCENTILE: Final = 10.0
EYE_M: Final = np.array([-9.0, 0.0, 7.0])  # from the sensor: behind it, above it
TOWARDS_M: Final = np.array([14.0, 0.0, -2.0])
NEAREST_M: Final = 1.0  # nothing closer to the eye is drawn
WIDE: Final = 0.55  # tangent of half the angle of view, sideways; upwards it is 0.6 of it
TITLE_INCHES: Final = 0.28
PANEL_INCHES: Final = (4.0, 4.0, 2.5)  # width, height from above, height of the perspective


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One cloud to draw: points (N, 3 or more), metres, and what stands above it."""

    title: str
    points: NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What all panels of a picture share: the range in x and y (low, high), metres, and the ground's height."""

    x_m: tuple[float, float]
    y_m: tuple[float, float]
    ground_m: float

    @classmethod
    def of(cls, truth: NDArray[np.floating], point_range_m: Sequence[float]) -> Stage:
        """From a scan and the detector's range: as far as the scan reaches."""
        low, high = np.asarray(point_range_m[:2], float), np.asarray(point_range_m[3:5], float)
        if len(truth) == 0:
            return cls(x_m=(low[0], high[0]), y_m=(low[1], high[1]), ground_m=float(point_range_m[2]))
        x, y = (
            (max(low[axis], truth[:, axis].min() - 1), min(high[axis], truth[:, axis].max() + 1)) for axis in (0, 1)
        )
        ground = float(np.percentile(truth[:, 2], GROUND_PERCENTILE))
        return cls(x_m=(float(x[0]), float(x[1])), y_m=(float(y[0]), float(y[1])), ground_m=ground)


def from_above(panels: Sequence[Panel], stage: Stage) -> bytes:
    """A PNG with the panels side by side, x up and y to the left."""
    ratio = (stage.x_m[1] - stage.x_m[0]) / (stage.y_m[1] - stage.y_m[0])
    width, height, _ = PANEL_INCHES
    figure = new_figure(width * len(panels), TITLE_INCHES + min(height * 1.2, width * ratio), layout=None)
    for axes, panel in zip(_side_by_side(figure, len(panels), left=0.3, below=0.22), panels, strict=True):
        axes.set_xlim(-stage.y_m[1], -stage.y_m[0])
        axes.set_ylim(*stage.x_m)
        _scatter(axes, -panel.points[:, 1], panel.points[:, 0], panel.points[:, 2] - stage.ground_m, 1.5)
        axes.plot(0, 0, marker="^", color="white", markersize=5)
        _finish(axes, panel)
        axes.tick_params(labelsize=7)
        axes.set_aspect("equal")
    return as_small_png(figure)


def in_perspective(panels: Sequence[Panel], stage: Stage) -> bytes:
    """A PNG with the panels side by side, seen from behind and above the sensor."""
    width, _, height = PANEL_INCHES
    figure = new_figure(width * len(panels), height + TITLE_INCHES, layout=None)
    for axes, panel in zip(_side_by_side(figure, len(panels)), panels, strict=True):
        inside = (panel.points[:, 0] <= stage.x_m[1]) & (panel.points[:, 0] >= stage.x_m[0])
        points = panel.points[inside & (np.abs(panel.points[:, 1]) <= max(map(abs, stage.y_m)))]
        right, up, depth = projected(points[:, :3])
        order = np.argsort(-depth)
        size = np.clip(26 / np.maximum(depth, 1), 0.8, 4.0)
        _scatter(axes, right, up, points[:, 2] - stage.ground_m, size, order)
        axes.set_xlim(-WIDE, WIDE)
        axes.set_ylim(-0.6 * WIDE, 0.6 * WIDE)
        axes.set_xticks([])
        axes.set_yticks([])
        _finish(axes, panel)
    return as_small_png(figure)


def projected(points: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """(N,) right, up and depth of points (N, 3): a pinhole camera at `EYE_M` that looks towards `TOWARDS_M`.

    Right and up are tangents of angles; points nearer than `NEAREST_M`, or behind the camera, get NaN there.
    """
    ahead = (TOWARDS_M - EYE_M) / np.linalg.norm(TOWARDS_M - EYE_M)
    right = np.cross(ahead, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    up = np.cross(right, ahead)
    turned = (np.asarray(points, np.float64) - EYE_M) @ np.stack([right, up, ahead]).T
    depth = turned[:, 2]
    shown = np.where(depth > NEAREST_M, depth, np.nan)
    return turned[:, 0] / shown, turned[:, 1] / shown, depth


def _side_by_side(figure: Figure, count: int, left: float = 0.0, below: float = 0.05) -> list[Axes]:
    """Axes with room for numbers (`left` and `below`, inches) and a title, measured out by hand: that is quick."""
    width, height = figure.get_size_inches()
    panel, gap = width / count, 0.05
    return [
        figure.add_axes(
            (
                (place * panel + left + gap) / width,
                below / height,
                (panel - left - 2 * gap) / width,
                (height - below - TITLE_INCHES) / height,
            )
        )
        for place in range(count)
    ]


def _scatter(
    axes: Axes,
    across: NDArray[np.floating],
    along: NDArray[np.floating],
    heights_m: NDArray[np.floating],
    size: NDArray[np.floating] | float,
    order: NDArray[np.int64] | None = None,
) -> None:
    axes.set_facecolor(BACKGROUND)
    if len(across) == 0:
        axes.text(0.5, 0.5, "no points", color="white", ha="center", transform=axes.transAxes)
        return
    order = np.argsort(heights_m) if order is None else order
    low, high = HEIGHTS_M
    sizes = size[order] if isinstance(size, np.ndarray) else size
    colours = heights_m[order]
    axes.scatter(across[order], along[order], c=colours, s=sizes, cmap="viridis", vmin=low, vmax=high, linewidths=0)


def _finish(axes: Axes, panel: Panel) -> None:
    axes.set_title(f"{panel.title}, {len(panel.points):,} points", fontsize=9, parse_math=False)
    for spine in axes.spines.values():
        spine.set_color(FAINT)
