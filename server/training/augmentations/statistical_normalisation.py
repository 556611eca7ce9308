"""Statistical normalisation (SN): objects of the source domain get the mean size of the target domain.

Source: Y. Wang et al., "Train in Germany, Test in the USA: Making 3D Object Detectors Generalize", CVPR 2020,
section 4. The form is that of ST3D: points scaled in the box's frame by (size + delta) / size, centre raised by half
the change of height, delta = mean size in the target domain - mean size in the source domain.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from server.training.augment import AppliedTransform, Augmentation, Augmented
from server.training.object_edits import ObjectEdits, edit_objects
from server.training.samples import LabelledScan
from shared_models.records import check


@dataclass(frozen=True, slots=True, kw_only=True)
class StatisticalNormalisationConfig:
    """By how much objects are resized.

    delta_m: (length, width, height) per class, metres, target mean - source mean, in the order of the detector's
        classes; classes beyond keep their size. Default: ST3D's for cars from Waymo to KITTI; to Lyft it is
        (-0.07, -0.20, -0.08). `server.training.object_sizes` measures it.
    """

    delta_m: tuple[tuple[float, float, float], ...] = ((-0.91, -0.49, -0.26),)

    def __post_init__(self) -> None:
        check.number("StatisticalNormalisationConfig", "delta_m", self.delta_m, -20, 20)


class StatisticalNormalisation(Augmentation):
    """Adds a class's `delta_m` to the size of each object and moves its points along; draws nothing.

    An object whose size would not stay above 0 is left as it is.
    """

    def __init__(self, config: StatisticalNormalisationConfig) -> None:
        self.config = config
        self._delta_m = np.array([*config.delta_m, (0.0, 0.0, 0.0)])  # the last row: classes beyond

    def apply_recorded(self, scan: LabelledScan, rng: np.random.Generator) -> Augmented:
        boxes = scan.truth.boxes
        sizes_m = boxes[:, 3:6].astype(np.float64)
        wanted_m = sizes_m + self._delta_m[np.minimum(scan.truth.labels, len(self.config.delta_m))]
        is_possible = (wanted_m > 0).all(axis=1)
        scale = np.where(is_possible[:, None], wanted_m / sizes_m, 1.0)
        edits = ObjectEdits(scale=scale, turn_rad=np.zeros(len(boxes)))
        return Augmented(scan=edit_objects(scan, edits), transform=AppliedTransform())
