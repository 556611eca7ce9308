"""One picture of a frame: from above, as the sensor sees it, and as the camera sees it; several frames side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from shared_models.datasets.full_turn import is_full_turn
from shared_models.errors import InvalidValueError
from shared_models.records import Frame
from shared_models.visualisation.bird_eye import AHEAD, AROUND, draw_bird_eye
from shared_models.visualisation.camera_view import draw_camera
from shared_models.visualisation.figure import DOTS_PER_INCH, as_png, new_figure
from shared_models.visualisation.marks import Marks
from shared_models.visualisation.palette import GROUPS, group_of
from shared_models.visualisation.range_view import draw_range_view

if TYPE_CHECKING:
    from matplotlib.figure import SubFigure

INCHES: Final = (8.0, 11.5)  # of one frame: width, height


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One frame to draw.

    title: names dataset and frame, and says so where the data are simulated.
    sensor_m: (3,) [x y z] of the LiDAR in the frame's coordinates.
    marks: boxes in the frame's coordinates.
    image: (H, W, 3) uint8 of the frame's camera, None where there is none.
    """

    title: str
    frame: Frame
    sensor_m: NDArray[np.float32]
    marks: tuple[Marks, ...] = ()
    image: NDArray[np.uint8] | None = None


def draw(views: Sequence[View], dots_per_inch: int = DOTS_PER_INCH) -> bytes:
    """The bytes of a PNG file with all views side by side; each is 8 x 11.5 inches.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    if not views:
        raise InvalidValueError("draw: expected at least one view, got none")
    figure = new_figure(INCHES[0] * len(views), INCHES[1], dots_per_inch=dots_per_inch, layout=None)
    figure.set_layout_engine("constrained", w_pad=0.15, h_pad=0.08)
    parts = figure.subfigures(1, len(views), squeeze=False)[0]
    for part, view in zip(parts, views, strict=True):
        _draw_view(part, view)
    return as_png(figure)


def _draw_view(part: SubFigure, view: View) -> None:
    points = view.frame.points[:, :3] - view.sensor_m
    has_turned = is_full_turn(points)
    has_image = view.image is not None and view.frame.camera is not None
    rows = [6.5, 2.4, 2.2] if has_image else [6.5, 2.8]
    axes = part.subplots(len(rows), 1, height_ratios=rows)
    part.suptitle(_heading(view), fontsize=11)
    draw_bird_eye(axes[0], points, [_moved(m, view.sensor_m) for m in view.marks], AROUND if has_turned else AHEAD)
    _draw_legend(axes[0], view.marks)
    if view.image is not None and view.frame.camera is not None:
        draw_camera(axes[1], view.image, view.frame.camera, view.marks)
    dots = draw_range_view(axes[-1], points, has_turned)
    bar = part.colorbar(dots, ax=axes[-1], label="metres", pad=0.01, ticks=[3, 5, 10, 20, 40, 80])
    bar.ax.set_yticklabels(["3", "5", "10", "20", "40", "80"])
    bar.ax.minorticks_off()


def _heading(view: View) -> str:
    labelled = sum(len(m.class_names) for m in view.marks if not m.is_detected)
    detected = sum(len(m.class_names) for m in view.marks if m.is_detected)
    found = f", {detected} detected" if any(m.is_detected for m in view.marks) else ""
    objects = "unlabelled" if view.frame.labels is None else f"{labelled} labelled objects"
    return f"{view.title}\n{len(view.frame.points):,} points, {objects}{found}"


def _moved(marks: Marks, sensor_m: NDArray[np.float32]) -> Marks:
    boxes = marks.boxes.copy()
    boxes[:, :3] -= sensor_m
    return replace(marks, boxes=boxes)


def _draw_legend(axes: Any, marks: Sequence[Marks]) -> None:
    from matplotlib.lines import Line2D

    counts = Counter(group_of(name) for m in marks if not m.is_detected for name in m.class_names)
    handles = [Line2D([], [], color=GROUPS[g][0], label=f"{g} ({counts[g]})") for g in GROUPS if counts[g]]
    if any(m.is_detected for m in marks):
        handles.append(Line2D([], [], color="white", linestyle="--", label="detected"))
    if handles:
        axes.legend(
            handles=handles, loc="upper right", fontsize=8, framealpha=0.85, facecolor="#394150", labelcolor="white"
        )
