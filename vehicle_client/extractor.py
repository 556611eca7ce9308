"""The vehicle's frozen detector: features of a scan, and the vehicle's own detections."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from shared_models.detectors.guard_context import guard_context
from shared_models.errors import ConfigError
from shared_models.guard import GuardContext
from shared_models.records import Detections, Frame, SceneFeatures


class VehicleDetector(Protocol):
    """What the extractor needs of a detector."""

    @property
    def backbone_hash(self) -> str: ...
    @property
    def split_layer(self) -> str: ...
    @property
    def point_fields(self) -> tuple[str, ...]: ...

    def extract(self, points: Tensor) -> SceneFeatures: ...

    def detect(self, features: SceneFeatures) -> Detections: ...

    def eval(self) -> object: ...

    def requires_grad_(self, requires_grad: bool = True) -> object: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractorConfig:
    """How the detector runs on the vehicle.

    is_detecting: also run the heads and keep what they find.
    threads: CPU threads of the whole process; 0 leaves torch's own choice.
    """

    is_detecting: bool = True
    threads: int = 0

    def __post_init__(self) -> None:
        if self.threads < 0:
            raise ConfigError(f"ExtractorConfig.threads: expected 0 or more, got {self.threads}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Extraction:
    """What the detector made of one frame; `detect_s` is 0 and `detections` None where the heads did not run."""

    features: SceneFeatures
    detections: Detections | None
    extract_s: float
    detect_s: float


class Extractor:
    """Runs a frozen detector on frames, without gradients and in evaluation mode."""

    def __init__(self, detector: VehicleDetector, config: ExtractorConfig | None = None) -> None:
        self._config = config or ExtractorConfig()
        self._detector = detector
        if self._config.threads:
            torch.set_num_threads(self._config.threads)
        detector.eval()
        detector.requires_grad_(False)

    @property
    def backbone_hash(self) -> str:
        """SHA-256 (hex) over everything before the cut."""
        return self._detector.backbone_hash

    @property
    def split_layer(self) -> str:
        """Name of the layer whose output leaves the vehicle."""
        return self._detector.split_layer

    @property
    def is_detecting(self) -> bool:
        """Whether the heads run too."""
        return self._config.is_detecting

    def guard_context(self, extraction: Extraction) -> GuardContext | None:
        """What a guard may know of that scene beside its features."""
        return guard_context(self._detector, extraction.detections)

    def extract(self, frame: Frame) -> Extraction:
        """Features of one frame and, if so configured, what the heads find in them.

        Raises:
            InvalidValueError: the frame lacks a point field that the detector needs.
        """
        with torch.inference_mode():
            started_s = time.perf_counter()
            points = torch.tensor(frame.columns(self._detector.point_fields))
            features = self._detector.extract(points)
            extracted_s = time.perf_counter()
            detections = self._detector.detect(features) if self._config.is_detecting else None
            detected_s = time.perf_counter()
        return Extraction(
            features=features,
            detections=detections,
            extract_s=extracted_s - started_s,
            detect_s=detected_s - extracted_s,
        )
