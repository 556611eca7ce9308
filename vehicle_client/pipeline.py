"""Sense, extract, guard, encode, put into the outbox, one frame at a time; the uploader empties it beside."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from shared_models import codecs, guards
from shared_models.errors import ConfigError, InvalidValueError
from shared_models.records import EncodedScene, Frame, SceneFeatures, SceneManifest, check
from vehicle_client.detection_files import save_detections
from vehicle_client.extractor import Extraction, Extractor
from vehicle_client.report import FrameReport, RejectedFrame, SceneReport
from vehicle_client.sensors.reading import Reading

logger = logging.getLogger(__name__)


class SceneSink(Protocol):
    """Where encoded scenes go; the outbox is one."""

    def put(self, scene: EncodedScene) -> bool: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineConfig:
    """What a vehicle makes of each frame.

    vehicle_id: name under which its scenes are sent.
    codecs: names in `shared_models.codecs`; each frame is sent once with each of them.
    guard: name in `shared_models.guards` of what is done to the features before they are encoded.
    guard_seed: seed of the guard's randomness, for tests; None draws one from the operating system.
    detections_folder: where the vehicle's own detections are kept; None keeps none.
    """

    vehicle_id: str = "vehicle"
    codecs: tuple[str, ...] = ("float32",)
    guard: str = "none"
    guard_seed: int | None = None
    detections_folder: Path | None = None

    def __post_init__(self) -> None:
        check.name("PipelineConfig", "vehicle_id", self.vehicle_id)
        if not self.codecs or len(set(self.codecs)) != len(self.codecs):
            raise ConfigError(f"PipelineConfig.codecs: expected at least one codec, each once, got {self.codecs}")
        for name in self.codecs:
            codecs.build(name)  # an unknown name is refused before the drive


class Pipeline:
    """Turns readings of a sensor into scenes in the outbox."""

    def __init__(self, extractor: Extractor, sink: SceneSink, config: PipelineConfig) -> None:
        """Raises:
        UnknownNameError: there is no guard of the configured name.
        """
        self._extractor = extractor
        self._sink = sink
        self._config = config
        self._guard = guards.build(config.guard)
        self._generator = torch.Generator()
        if config.guard_seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(config.guard_seed)

    def run(self, readings: Iterable[Reading]) -> Iterator[FrameReport | RejectedFrame]:
        """What became of each reading. A frame that cannot be used is reported and the drive goes on.

        Raises:
            StorageFullError, StorageError: the outbox or the detections cannot be kept on this machine.
        """
        for reading in readings:
            yield self._handle(reading)

    def _handle(self, reading: Reading) -> FrameReport | RejectedFrame:
        if reading.frame is None:
            return _rejected(reading.frame_id, str(reading.error))
        try:
            return self.process(reading.frame, read_s=reading.read_s, late_s=reading.late_s)
        except InvalidValueError as error:
            return _rejected(reading.frame_id, str(error))

    def process(self, frame: Frame, read_s: float = 0.0, late_s: float = 0.0) -> FrameReport:
        """Make the scenes of one frame and hand them over.

        Raises:
            InvalidValueError: the frame does not suit the detector.
            StorageFullError, StorageError: the outbox or the detections cannot be kept on this machine.
        """
        extraction = self._extractor.extract(frame)
        started_s = time.perf_counter()
        features = self._guard.apply(extraction.features, self._generator)
        guard_s = time.perf_counter() - started_s
        return FrameReport(
            frame_id=frame.frame_id,
            points=len(frame.points),
            raw_bytes=frame.points.nbytes,
            cells=len(features.grid),
            scenes=tuple(self._hand_over(frame, features, codec) for codec in self._config.codecs),
            detections_file=self._keep(frame, extraction),
            read_s=read_s,
            late_s=late_s,
            extract_s=extraction.extract_s,
            detect_s=extraction.detect_s,
            guard_s=guard_s,
        )

    def _hand_over(self, frame: Frame, features: SceneFeatures, codec: str) -> SceneReport:
        started_s = time.perf_counter()
        scene = encode_scene(self._config.vehicle_id, frame, features, codec)
        encoded_s = time.perf_counter()
        self._sink.put(scene)
        return SceneReport(
            scene_id=scene.manifest.scene_id,
            codec=codec,
            payload_bytes=scene.manifest.payload_bytes,
            encode_s=encoded_s - started_s,
            put_s=time.perf_counter() - encoded_s,
        )

    def _keep(self, frame: Frame, extraction: Extraction) -> str | None:
        if extraction.detections is None or self._config.detections_folder is None:
            return None
        return str(save_detections(self._config.detections_folder, frame.frame_id, extraction.detections))


def encode_scene(vehicle_id: str, frame: Frame, features: SceneFeatures, codec: str) -> EncodedScene:
    """Payload and manifest of one frame's features.

    Raises:
        UnknownNameError: there is no codec of that name.
        InvalidValueError: a feature is NaN or infinite.
    """
    payload = codecs.encode(features, codec)
    manifest = SceneManifest(
        vehicle_id=vehicle_id,
        frame_id=frame.frame_id,
        timestamp_ns=frame.timestamp_ns,
        codec=codec,
        split_layer=features.split_layer,
        backbone_hash=features.backbone_hash,
        payload_sha256=hashlib.sha256(payload).hexdigest(),
        payload_bytes=len(payload),
    )
    return EncodedScene(manifest=manifest, payload=payload)


def _rejected(frame_id: str, reason: str) -> RejectedFrame:
    logger.warning("frame rejected", extra={"frame_id": frame_id})
    return RejectedFrame(frame_id=frame_id, reason=reason)
