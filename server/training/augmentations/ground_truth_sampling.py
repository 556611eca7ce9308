"""Ground-truth sampling: labelled objects of other frames put into the scene, at their own place.

Source: Y. Yan et al., "SECOND: Sparsely Embedded Convolutional Detection", Sensors 2018, section 3.4.1; numbers of
OpenPCDet's KITTI and Waymo configurations. Objects keep their height: there are no road planes to put them on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from server.training.array_geometry import first_box_of_points
from server.training.augment import AppliedTransform, Augmentation, Augmented
from server.training.ground_truth_database import GroundTruthDatabase
from server.training.object_drawing import draw_objects, free_of_collisions
from server.training.samples import LabelledScan, Truth
from shared_models.errors import InvalidValueError
from shared_models.records import check


@dataclass(frozen=True, slots=True, kw_only=True)
class GroundTruthSamplingConfig:
    """How many objects are put in, and when they collide.

    numbers: objects to draw per class, in the order of the detector's classes; classes beyond get none. Default:
        OpenPCDet's for SECOND-IoU on KITTI; PV-RCNN there takes 15, 10, 10 uncapped, Waymo 15, 10, 10 capped.
    is_capped: `numbers` counts what the scene already holds of the class, so that only the rest is drawn.
    clearance_m: kept free around each inserted box for removing points of the scene, metres added to each side of its
        length and width.
    """

    numbers: tuple[int, ...] = (20, 15, 15)
    is_capped: bool = True
    clearance_m: float = 0.0

    def __post_init__(self) -> None:
        check.count("GroundTruthSamplingConfig", "numbers", self.numbers, 1000, 0)
        check.number("GroundTruthSamplingConfig", "clearance_m", self.clearance_m, 0, 10)


class GroundTruthSampling(Augmentation):
    """Inserts drawn objects that overlap, seen from above, neither a box of the scene nor one inserted before.

    Points of the scene inside an inserted box are removed; the object's own points come first in the new scan.
    """

    def __init__(self, config: GroundTruthSamplingConfig, database: GroundTruthDatabase) -> None:
        self.config, self.database = config, database

    def apply_recorded(self, scan: LabelledScan, rng: np.random.Generator) -> Augmented:
        held = scan.truth.labels if self.config.is_capped else None
        drawn = draw_objects(self.database, self.config.numbers, rng, held)
        free = drawn[free_of_collisions(scan.truth.boxes, self.database.boxes[drawn])]
        return Augmented(scan=self.inserted(scan, free), transform=AppliedTransform())

    def inserted(self, scan: LabelledScan, rows: NDArray[np.int64]) -> LabelledScan:
        """The scan with these rows of the database put in; that they collide with nothing is the caller's part.

        Raises:
            InvalidValueError: the scan has other point fields than the database.
        """
        database = self.database
        if not len(rows):
            return scan
        if scan.points.shape[1] != len(database.point_fields):
            raise InvalidValueError(
                f"ground-truth sampling into frame {scan.frame_id}: its points have {scan.points.shape[1]} fields, the "
                f"database has {', '.join(database.point_fields)}; build the database from the same frames"
            )
        boxes = database.boxes[rows]
        cleared = boxes.copy()
        cleared[:, 3:5] += np.float32(2 * self.config.clearance_m)
        rest = scan.points[first_box_of_points(scan.points, cleared) < 0]
        points = np.concatenate([*(database.points_of(row) for row in rows), rest])
        added = Truth.exact(boxes, database.labels[rows])
        return replace(scan, points=points, truth=scan.truth.joined(added))
