"""Frozen records that pass between stages. Each checks itself when it is made."""

from shared_models.records.detections import Detections
from shared_models.records.encoded import EncodedScene, SceneManifest
from shared_models.records.features import GridFeatures, SceneFeatures, SetFeatures
from shared_models.records.frame import CameraCalibration, CameraImage, Frame, ObjectLabels

__all__ = [
    "CameraCalibration",
    "CameraImage",
    "Detections",
    "EncodedScene",
    "Frame",
    "GridFeatures",
    "ObjectLabels",
    "SceneFeatures",
    "SceneManifest",
    "SetFeatures",
]
