"""Detector attack: what a stock detector, trained on raw scans, still finds in what another attack gave back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray

from server.audit.attack import ObjectAttack, Workbench
from server.audit.threat import Ability, AttackerView
from shared_models import checkpoints
from shared_models.detector import Detector
from shared_models.errors import ConfigError, InvalidValueError
from shared_models.records import Detections, check

KNOWN_FIELDS = ("x", "y", "z", "intensity")


@dataclass(frozen=True, slots=True, kw_only=True)
class StockDetectorConfig:
    """Which detector looks at whose reconstructions.

    on: title of the reconstruction attack in the same audit; its scans are taken as they are, nothing is trained again.
    checkpoint: folder of the detector, trained on raw scans; "" takes the audited detector, which the threat must give.
    intensity: of points that came back without one, 0 to 1.
    least_score: detections that are at least so sure count as found, 0 to 1; AP counts all.
    """

    on: str = "occupancy"
    checkpoint: str = ""
    intensity: float = 0.25
    least_score: float = 0.3

    def __post_init__(self) -> None:
        check.name("StockDetectorConfig", "on", self.on, 80)
        check.number("StockDetectorConfig", "intensity", self.intensity, 0, 1)
        check.number("StockDetectorConfig", "least_score", self.least_score, 0, 1)


@final
class StockDetector(ObjectAttack):
    """Any detector of the project that reads x, y, z and intensity."""

    name = "detector"
    may_use = frozenset({Ability.WHITE_BOX})
    config_class = StockDetectorConfig
    config: StockDetectorConfig
    _detector: Detector | None = None

    def required(self) -> frozenset[Ability]:
        return frozenset() if self.config.checkpoint else frozenset({Ability.WHITE_BOX})

    def prepare(self, view: AttackerView, bench: Workbench) -> None:
        if not self.config.checkpoint:
            detector = view.white_box()
        else:
            detector = checkpoints.open_checkpoint(Path(self.config.checkpoint))
        if detector.point_fields != KNOWN_FIELDS:
            raise ConfigError(f"detector attack: expected a detector of {KNOWN_FIELDS}, got {detector.point_fields}")
        self._detector = detector.eval().requires_grad_(False)

    def detect(self, points: NDArray[np.float32]) -> Detections:
        if self._detector is None:
            raise InvalidValueError("detector: prepare it before it detects")
        scan = torch.from_numpy(self._with_intensity(points))
        with torch.inference_mode():
            return self._detector.detect(self._detector.extract(scan))

    def _with_intensity(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        if points.shape[1] == len(KNOWN_FIELDS):
            return np.ascontiguousarray(points, np.float32)
        constant = np.full((len(points), 1), self.config.intensity, np.float32)
        return np.ascontiguousarray(np.concatenate((points[:, :3], constant), 1), np.float32)
