"""A scan from above: x points up in the picture, y to the left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from shared_models.datasets.kitti_export import box_corners
from shared_models.visualisation.marks import Marks
from shared_models.visualisation.palette import BACKGROUND, FAINT, colour_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEIGHTS_M: Final = (-0.3, 3.5)  # above the ground: what the colours span
GROUND_PERCENTILE: Final = 10.0
RING_STEP_M: Final = 20
SCALE_BAR_M: Final = 10
TOP_CORNERS: Final = (0, 2, 6, 4)  # of `box_corners`, around the box: front left, front right, rear right, rear left


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """What the view shows: [behind, ahead] along x and `sideways` to both sides along y, metres from the sensor."""

    behind_m: float = 60.0
    ahead_m: float = 60.0
    sideways_m: float = 60.0


AROUND: Final = Extent()
AHEAD: Final = Extent(behind_m=2.0, ahead_m=72.0, sideways_m=40.0)


def draw_bird_eye(axes: Axes, points: NDArray[np.float32], marks: Sequence[Marks], extent: Extent) -> None:
    """Points coloured by height, range rings, a scale bar, and boxes with a line to their front.

    points: (N, >=3) float32 [x y z ...], metres, origin in the sensor. marks: in the same frame.
    """
    axes.set_facecolor(BACKGROUND)
    axes.set_aspect("equal")
    axes.set_xlim(-extent.sideways_m, extent.sideways_m)
    axes.set_ylim(-extent.behind_m, extent.ahead_m)
    axes.set_xlabel("metres to the right")
    axes.set_ylabel("metres ahead")
    _draw_rings(axes, extent)
    if len(points):
        heights = points[:, 2] - np.percentile(points[:, 2], GROUND_PERCENTILE)
        order = np.argsort(heights)
        low, high = HEIGHTS_M
        axes.scatter(
            -points[order, 1],
            points[order, 0],
            c=heights[order],
            s=0.6,
            cmap="viridis",
            vmin=low,
            vmax=high,
            linewidths=0,
            rasterized=True,
        )
    axes.plot(0, 0, marker="^", color="white", markersize=6)
    for group in marks:
        _draw_boxes(axes, group)
    _draw_scale_bar(axes, extent)


def _draw_rings(axes: Axes, extent: Extent) -> None:
    turn = np.linspace(0, 2 * np.pi, 361)
    farthest = int(np.hypot(max(extent.ahead_m, extent.behind_m), extent.sideways_m))
    for radius in range(RING_STEP_M, farthest + 1, RING_STEP_M):
        axes.plot(radius * np.sin(turn), radius * np.cos(turn), color=FAINT, linewidth=0.5, alpha=0.6)
        if radius < extent.ahead_m:
            axes.text(0.6, radius + 0.6, f"{radius} m", color=FAINT, fontsize=7)


def _draw_boxes(axes: Axes, marks: Marks) -> None:
    style = "--" if marks.is_detected else "-"
    for corners, box, name in zip(box_corners(marks.boxes), marks.boxes, marks.class_names, strict=True):
        colour = "white" if marks.is_detected else colour_of(name)
        outline = corners[[*TOP_CORNERS, TOP_CORNERS[0]]]
        axes.plot(-outline[:, 1], outline[:, 0], style, color=colour, linewidth=1.1)
        front = (corners[0] + corners[2]) / 2
        axes.plot([-box[1], -front[1]], [box[0], front[0]], style, color=colour, linewidth=1.1)


def _draw_scale_bar(axes: Axes, extent: Extent) -> None:
    right = extent.sideways_m * 0.95
    low = -extent.behind_m + 0.03 * (extent.ahead_m + extent.behind_m)
    axes.plot([right - SCALE_BAR_M, right], [low, low], color="white", linewidth=2.5, solid_capstyle="butt")
    axes.text(right - SCALE_BAR_M / 2, low + 1, f"{SCALE_BAR_M} m", color="white", fontsize=8, ha="center")
