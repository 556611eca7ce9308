"""Fills a server's store with the features of a dataset's frames, as vehicles would send them but without a network.

    upcycle features --run FILE

Only features leave the frames: extraction, guard and codec are the vehicle's own code.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from server.repositories.archive import SceneArchive, open_archive
from server.repositories.repository import SceneFilter
from server.training.source_config import SourceConfig
from server.training.sources import Source, open_source
from shared_models import guards
from shared_models.configuration import to_dict
from shared_models.detector import Detector
from shared_models.records import Frame
from vehicle_client.extractor import Extractor, ExtractorConfig
from vehicle_client.pipeline import encode_scene

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """vehicle_id: name of the scenes' sender. scenes: of the source. added: of them now. payload_bytes: of those."""

    vehicle_id: str
    scenes: int
    added: int
    payload_bytes: int


def fleet_id(config: SourceConfig) -> str:
    """Vehicle name of the scenes of these frames: the same frames get the same name."""
    digest = hashlib.sha256(json.dumps(to_dict(config), sort_keys=True).encode()).hexdigest()
    return f"{config.dataset.partition(',')[0]}-fleet-{digest[:10]}"


def fill_store(
    detector: Detector,
    config: SourceConfig,
    data: Path,
    codec: str,
    guard: str = "none",
    progress: Progress | None = None,
) -> Filled:
    """Store the features of the source's frames that are not stored yet. data: the server's data folder.

    Raises:
        ConfigError, DatasetError: the source cannot be read.
        StorageFullError, StorageError: a scene could not be stored; those before it are.
    """
    source, vehicle_id = open_source(config, data / "cache", with_labels=False), fleet_id(config)
    archive = open_archive(data, is_new_allowed=True)
    try:
        where = SceneFilter(vehicle_id=vehicle_id, codec=codec, backbone_hash=detector.backbone_hash)
        stored = {scene.manifest.frame_id for scene in archive.catalogue.scenes(where)}
        wanted = [frame_id for frame_id in source.frame_ids if frame_id not in stored]
        added_bytes = _store(detector, source, wanted, archive, (vehicle_id, codec, guard), progress)
    finally:
        archive.close()
    return Filled(vehicle_id=vehicle_id, scenes=len(source.frame_ids), added=len(wanted), payload_bytes=added_bytes)


def _store(
    detector: Detector,
    source: Source,
    wanted: list[str],
    archive: SceneArchive,
    names: tuple[str, str, str],
    progress: Progress | None,
) -> int:
    vehicle_id, codec, guard = names
    extractor = Extractor(detector, ExtractorConfig(is_detecting=False))
    protect, generator = guards.build(guard), torch.Generator()
    generator.seed()
    total = 0
    for number, frame_id in enumerate(wanted, start=1):
        frame: Frame = source.dataset.frame(frame_id)
        features = protect.apply(extractor.extract(frame).features, generator)
        scene = encode_scene(vehicle_id, frame, features, codec)
        archive.add(scene, time.time_ns())
        total += len(scene.payload)
        if progress is not None:
            progress(number, len(wanted))
    return total
