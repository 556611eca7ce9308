"""Features of labelled scans, made as a vehicle makes them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from server.training.features.scene import FeatureScan
from server.training.samples import LabelledScan
from shared_models.detectors.anchor_detector import AnchorDetector
from shared_models.errors import InvalidValueError
from shared_models.records import SceneFeatures


def extract_points(points: NDArray[np.float32], detector: AnchorDetector) -> SceneFeatures:
    """Features, without gradients, of points (N, F) in the detector's fields, on the detector's device.

    Raises:
        InvalidValueError: other point fields, or the detector is in training mode, in which features differ from those
            of a vehicle.
    """
    if detector.training:
        raise InvalidValueError("features of labelled scans: the detector is in training mode; call eval() first")
    device = next(detector.parameters()).device
    with torch.no_grad():
        return detector.extract(torch.from_numpy(points).to(device))


def extract_scan(scan: LabelledScan, detector: AnchorDetector) -> FeatureScan:
    """A labelled scan as features with the same boxes. Raises as `extract_points`."""
    return FeatureScan(scene_id=scan.frame_id, features=extract_points(scan.points, detector), truth=scan.truth)
