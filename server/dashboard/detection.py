"""The server's half of a detector, run on stored scenes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from shared_models import checkpoints
from shared_models.detector import Detector
from shared_models.records import Detections, SceneFeatures


class SceneDetector:
    """A detector from a checkpoint; used by one thread at a time.

    weights: one phrase for people. backbone_hash: of the scenes that it can take.
    """

    def __init__(self, detector: Detector, weights: str) -> None:
        self._detector = detector.eval()
        self.weights, self.backbone_hash = weights, detector.backbone_hash

    @classmethod
    def open(cls, path: Path) -> SceneDetector:
        """The detector of a checkpoint folder or OpenPCDet file.

        Raises:
            CheckpointError: there is none, or it is damaged, hostile or does not fit.
        """
        detector = checkpoints.open_checkpoint(path)
        folder = path if path.is_dir() else path.parent
        is_native = (folder / "manifest.json").is_file() and path.suffix != ".pth"
        is_seeded = is_native and not checkpoints.read_manifest(folder).is_trained
        named = f"{detector.name}, checkpoint {folder.name if is_native else path.name}"
        return cls(detector, f"{named}: seeded, untrained weights, its boxes mean nothing" if is_seeded else named)

    def geometry(self) -> dict[str, Any] | None:
        """Where the map's cells lie in the LiDAR frame: `low_m` minimum of x and y, `cell_m` size of a cell."""
        geometry = getattr(self._detector, "geometry", None)
        if geometry is None:
            return None
        return {"low_m": list(geometry.low_m), "cell_m": list(geometry.cell_m)}

    def detect(self, features: SceneFeatures) -> Detections:
        """What it finds in one scene.

        Raises:
            InvalidValueError: the features have other shapes than this detector's.
        """
        with torch.inference_mode():
            return self._detector.detect(features)
