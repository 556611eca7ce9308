"""A camera image with boxes projected into it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from shared_models.datasets.kitti_calibration import in_camera, project
from shared_models.datasets.kitti_export import box_corners
from shared_models.records import CameraCalibration
from shared_models.visualisation.marks import Marks
from shared_models.visualisation.palette import colour_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NEAR_M: Final = 0.3  # edges are cut here, so that nothing behind the camera is drawn
# Pairs of `box_corners` that differ in one sign.
EDGES: Final = tuple((a, b) for a in range(8) for b in range(a + 1, 8) if (a ^ b) in (1, 2, 4))


def draw_camera(axes: Axes, image: NDArray[np.uint8], camera: CameraCalibration, marks: Sequence[Marks]) -> None:
    """The image with the edges of every box in front of the camera.

    image: (H, W, 3) uint8. marks: in the frame that `camera` is seen from (the LiDAR's).
    """
    axes.imshow(image, interpolation="antialiased")
    for group in marks:
        style = "--" if group.is_detected else "-"
        for segments, name in zip(box_edges(group.boxes, camera), group.class_names, strict=True):
            colour = "white" if group.is_detected else colour_of(name)
            for pixels in segments:
                axes.plot(pixels[:, 0], pixels[:, 1], style, color=colour, linewidth=1.0)
    height, width = image.shape[:2]
    axes.set_xlim(-0.5, width - 0.5)
    axes.set_ylim(height - 0.5, -0.5)
    axes.set_xticks([])
    axes.set_yticks([])


def box_edges(boxes: NDArray[np.float32], camera: CameraCalibration) -> list[list[NDArray[np.float64]]]:
    """For each of (M, 7) boxes its visible edges, (2, 2) pixels [u v] each, cut at 0.3 m in front of the camera."""
    corners = in_camera(box_corners(boxes).reshape(-1, 3), camera).reshape(-1, 8, 3)
    result = []
    for box in corners:
        cut = [_cut(box[a], box[b]) for a, b in EDGES]
        result.append([project(edge, camera)[0] for edge in cut if edge is not None])
    return result


def _cut(start: NDArray[np.float64], end: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """(2, 3) the part of a line that lies in front of the near plane; None where no part does."""
    if start[2] < end[2]:
        start, end = end, start
    if start[2] <= NEAR_M:
        return None
    if end[2] < NEAR_M:
        end = start + (end - start) * (start[2] - NEAR_M) / (start[2] - end[2])
    return np.stack([start, end])
