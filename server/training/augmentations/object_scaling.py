"""Random object scaling (ROS), against the difference in object sizes between two domains.

Source: J. Yang et al., "ST3D: Self-training for Unsupervised Domain Adaptation on 3D Object Detection", CVPR 2021,
section 3.2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from server.training.augment import AppliedTransform, Augmentation, Augmented
from server.training.object_edits import choose_without_overlap, edit_objects
from server.training.samples import LabelledScan
from shared_models.errors import InvalidValueError
from shared_models.records import check


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectScalingConfig:
    """By how much each object is scaled.

    ranges: (smallest, largest) factor per class, in the order of the detector's classes; classes beyond keep their
        size. Default: ST3D's for cars from Waymo to KITTI; to Lyft it takes 0.7 to 1.0.
    tries: draws per object until one overlaps no other object seen from above, 1 to 1000.
    """

    ranges: tuple[tuple[float, float], ...] = ((0.75, 0.95),)
    tries: int = 50

    def __post_init__(self) -> None:
        check.number("ObjectScalingConfig", "ranges", self.ranges, 0.2, 5)
        check.count("ObjectScalingConfig", "tries", self.tries, 1000)
        for low, high in self.ranges:
            if low > high:
                raise InvalidValueError(f"ObjectScalingConfig.ranges: expected low <= high, got {low} and {high}")


class ObjectScaling(Augmentation):
    """Scales each object and its points about its own frame, the same along all axes; its underside stays in place."""

    def __init__(self, config: ObjectScalingConfig) -> None:
        self.config = config
        self._low, self._high = np.array([*config.ranges, (1.0, 1.0)]).T  # the last row: classes beyond

    def apply_recorded(self, scan: LabelledScan, rng: np.random.Generator) -> Augmented:
        rows = np.minimum(scan.truth.labels, len(self.config.ranges))
        share = rng.random((len(rows), self.config.tries))
        factor = self._low[rows, None] + share * (self._high - self._low)[rows, None]
        scale = np.repeat(factor[:, :, None], 3, axis=2)
        edits = choose_without_overlap(scan.truth.boxes, scale, np.zeros(factor.shape))
        return Augmented(scan=edit_objects(scan, edits), transform=AppliedTransform())
