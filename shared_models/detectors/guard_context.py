"""What a guard may know of a scene, from the detector that made its features."""

from __future__ import annotations

import numpy as np

from shared_models.backbones.cut_geometry import CutGeometry
from shared_models.detectors.anchor_detector import AnchorDetector
from shared_models.guard import GuardContext
from shared_models.records import Detections


def guard_context(
    detector: object, detections: Detections | None = None, split_layer: str | None = None
) -> GuardContext | None:
    """Where the cells of the detector's split layer lie, or of another layer; None for detectors without cells.

    detections: what the vehicle found in the scene itself.
    """
    if not isinstance(detector, AnchorDetector):
        return None
    geometry = CutGeometry.of(detector.config.voxels, split_layer or detector.split_layer)
    x, y, z = geometry.centres_m(np.zeros((1, 3), np.int64))[0].tolist()
    return GuardContext(first_centre_m=(x, y, z), cell_size_m=geometry.cell_size_m, detections=detections)
