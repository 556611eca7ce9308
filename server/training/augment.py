"""The interface of an augmentation, and the transform of the whole scene that one leaves behind.

Implementations and their table are in `server.training.augmentations`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from server.training.samples import LabelledScan, Truth
from shared_models.records import check


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedTransform:
    """What was done to a whole scene, LiDAR frame: first the flips, then the rotation, then the scaling.

    Every sequence of flips, turns about z and scalings about the origin can be written so.

    is_flipped_x: mirrored along the x axis, y becomes -y.
    is_flipped_y: mirrored along the y axis, x becomes -x.
    rotation_rad: counter-clockwise about the z axis of the origin.
    scale: of all coordinates and sizes, about the origin.
    """

    is_flipped_x: bool = False
    is_flipped_y: bool = False
    rotation_rad: float = 0.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        check.number("AppliedTransform", "rotation_rad", self.rotation_rad, -1e6, 1e6)
        check.number("AppliedTransform", "scale", self.scale, 1e-3, 1e3)

    @property
    def is_identity(self) -> bool:
        """Whether it leaves everything as it is."""
        return self == AppliedTransform()

    @property
    def inverse(self) -> AppliedTransform:
        """The transform that undoes this one."""
        return replace(self, rotation_rad=-self._turned_by_flips(self.rotation_rad), scale=1 / self.scale)

    def then(self, later: AppliedTransform) -> AppliedTransform:
        """This transform and after it `later`, as one."""
        return AppliedTransform(
            is_flipped_x=self.is_flipped_x != later.is_flipped_x,
            is_flipped_y=self.is_flipped_y != later.is_flipped_y,
            rotation_rad=later._turned_by_flips(self.rotation_rad) + later.rotation_rad,
            scale=self.scale * later.scale,
        )

    def _turned_by_flips(self, angle_rad: float) -> float:
        # A mirror passes a rotation on with the other sign; two mirrors are a half turn, which passes it on as it is.
        return -angle_rad if self.is_flipped_x != self.is_flipped_y else angle_rad

    def points(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """The points transformed. points: (N, F) float32 [x y z ...], F >= 3; columns after z are kept."""
        if self.is_identity:
            return points
        moved = points.copy()
        xx, xy, yx, yy = (np.float32(v) for v in self._matrix())
        moved[:, 0] = points[:, 0] * xx + points[:, 1] * xy
        moved[:, 1] = points[:, 0] * yx + points[:, 1] * yy
        moved[:, 2] *= np.float32(self.scale)
        return moved

    def boxes(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """The boxes transformed. boxes: (M, 7) float32 [x y z length width height yaw]; yaw comes in [-pi, pi)."""
        if self.is_identity:
            return boxes
        moved = self.points(boxes)
        moved[:, 3:6] *= np.float32(self.scale)
        yaw = boxes[:, 6].astype(np.float64)
        yaw = -yaw if self.is_flipped_x else yaw
        yaw = np.pi - yaw if self.is_flipped_y else yaw
        moved[:, 6] = wrapped(yaw + self.rotation_rad)
        return moved

    def truth(self, truth: Truth) -> Truth:
        """The boxes of `truth` transformed, with their labels and marks."""
        return replace(truth, boxes=self.boxes(truth.boxes))

    def scan(self, scan: LabelledScan) -> LabelledScan:
        """Points and boxes transformed."""
        return replace(scan, points=self.points(scan.points), truth=self.truth(scan.truth))

    def _matrix(self) -> tuple[float, float, float, float]:
        along_x = -self.scale if self.is_flipped_y else self.scale
        along_y = -self.scale if self.is_flipped_x else self.scale
        cos, sin = math.cos(self.rotation_rad), math.sin(self.rotation_rad)
        return cos * along_x, -sin * along_y, sin * along_x, cos * along_y


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmented:
    """What an augmentation made of a scan.

    scan: the new scan.
    transform: what was done to the scene as a whole, so that boxes found in the scan as it was can be carried along
        (`transform.truth`) and boxes found in the new one carried back (`transform.inverse.truth`). Changes of single
        objects are not in it.
    """

    scan: LabelledScan
    transform: AppliedTransform


class Augmentation(ABC):
    """A random change of a labelled scan; a function of the scan and the generator alone, which keeps no state."""

    @abstractmethod
    def apply_recorded(self, scan: LabelledScan, rng: np.random.Generator) -> Augmented:
        """The scan changed, and the transform of the whole scene that was drawn. `scan` itself stays as it is."""

    def apply(self, scan: LabelledScan, rng: np.random.Generator) -> LabelledScan:
        """The scan changed. `scan` itself stays as it is."""
        return self.apply_recorded(scan, rng).scan


def wrapped(angle_rad: NDArray[np.floating]) -> NDArray[np.float32]:
    """The same angles in [-pi, pi)."""
    exact = np.asarray(angle_rad, dtype=np.float64)
    result: NDArray[np.float32] = (exact - 2 * np.pi * np.floor(exact / (2 * np.pi) + 0.5)).astype(np.float32)
    return result
