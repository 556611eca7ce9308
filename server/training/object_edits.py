"""Objects changed one by one, each about its own frame, their points with them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from server.training.array_geometry import first_box_of_points, overlaps_bev
from server.training.augment import wrapped
from server.training.samples import LabelledScan
from shared_models.records import check


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectEdits:
    """How each of M objects is changed, in its own frame: first scaled, then turned; its underside keeps its height.

    scale: (M, 3) float64, of length, width and height.
    turn_rad: (M,) float64, counter-clockwise about the object's upright axis.
    """

    scale: NDArray[np.float64]
    turn_rad: NDArray[np.float64]

    def __post_init__(self) -> None:
        count = len(self.turn_rad)
        check.shape("ObjectEdits", "scale", self.scale, (count, 3))
        check.shape("ObjectEdits", "turn_rad", self.turn_rad, (count,))

    def boxes(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """(M, 7) float32: the boxes (M, 7) as the edits leave them."""
        edited = boxes.copy()
        edited[:, 2] += boxes[:, 5] * (self.scale[:, 2] - 1) / 2
        edited[:, 3:6] = boxes[:, 3:6] * self.scale
        turned = self.turn_rad != 0
        edited[turned, 6] = wrapped(boxes[turned, 6] + self.turn_rad[turned])
        return edited

    @property
    def covers_more(self) -> NDArray[np.bool_]:
        """(M,) bool: whether the new box may hold space that the old one did not."""
        larger: NDArray[np.bool_] = (self.scale > 1).any(axis=1) | (self.turn_rad != 0)
        return larger


def edit_objects(scan: LabelledScan, edits: ObjectEdits) -> LabelledScan:
    """The scan with its objects changed; background that a changed box newly covers is left out.

    A point that lies in several boxes belongs to the first of them.
    """
    boxes = scan.truth.boxes
    edited = edits.boxes(boxes)
    owner = first_box_of_points(scan.points, boxes)
    rows = np.flatnonzero(owner >= 0)
    points = scan.points.copy()
    points[rows, :3] = _moved(points[rows, :3], boxes, edited, owner[rows], edits)
    grown = edits.covers_more
    if grown.any():
        is_kept = (owner >= 0) | (first_box_of_points(scan.points, edited[grown]) < 0)
        points = points[is_kept]
    return replace(scan, points=points, truth=replace(scan.truth, boxes=edited))


def _moved(
    xyz: NDArray[np.float32],
    old: NDArray[np.float32],
    new: NDArray[np.float32],
    owner: NDArray[np.int64],
    edits: ObjectEdits,
) -> NDArray[np.float64]:
    """(K, 3): points from the frames of the old boxes into those of the new ones."""
    offset = xyz.astype(np.float64) - old[owner, :3]
    yaw = old[:, 6].astype(np.float64)
    along, across = _turned(offset[:, 0], offset[:, 1], -yaw[owner])
    scale = edits.scale[owner]
    x, y = _turned(along * scale[:, 0], across * scale[:, 1], (yaw + edits.turn_rad)[owner])
    moved: NDArray[np.float64] = np.stack((x, y, offset[:, 2] * scale[:, 2]), axis=1) + new[owner, :3]
    return moved


def _turned(
    x: NDArray[np.float64], y: NDArray[np.float64], angle_rad: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    cos, sin = np.cos(angle_rad), np.sin(angle_rad)
    return x * cos - y * sin, x * sin + y * cos


def choose_without_overlap(
    boxes: NDArray[np.float32], scale: NDArray[np.float64], turn_rad: NDArray[np.float64]
) -> ObjectEdits:
    """For each object the first of T tries whose box shares no area with another object seen from above.

    boxes: (M, 7). scale: (M, T, 3). turn_rad: (M, T). Objects are decided in order, each against the others as they are
    by then; one that no try fits stays unchanged.
    """
    count, tries = turn_rad.shape
    chosen = ObjectEdits(scale=np.ones((count, 3)), turn_rad=np.zeros(count))
    if not count or not tries:
        return chosen
    crowded = _crowded(boxes, scale)
    free = np.setdiff1d(np.arange(count), crowded)
    chosen.scale[free], chosen.turn_rad[free] = scale[free, 0], turn_rad[free, 0]
    current = chosen.boxes(boxes)
    for k in crowded:
        candidates = ObjectEdits(scale=scale[k], turn_rad=turn_rad[k]).boxes(np.repeat(boxes[k : k + 1], tries, axis=0))
        fitting = np.flatnonzero(~overlaps_bev(candidates, np.delete(current, k, axis=0)).any(axis=1))
        if len(fitting):
            chosen.scale[k], chosen.turn_rad[k] = scale[k, fitting[0]], turn_rad[k, fitting[0]]
            current[k] = candidates[fitting[0]]
    return chosen


def _crowded(boxes: NDArray[np.float32], scale: NDArray[np.float64]) -> NDArray[np.int64]:
    """Objects that could meet another one whatever is drawn; for all others the first try fits."""
    largest = np.maximum(scale[:, :, :2].max(axis=(1, 2)), 1.0)
    reach = np.hypot(boxes[:, 3], boxes[:, 4]) / 2 * largest
    apart = np.hypot(*(boxes[:, None, k] - boxes[None, :, k] for k in range(2)))
    meets = apart <= reach[:, None] + reach[None, :] + 0.01  # 0.01 m for rounding
    np.fill_diagonal(meets, False)
    crowded: NDArray[np.int64] = np.flatnonzero(meets.any(axis=1))
    return crowded
