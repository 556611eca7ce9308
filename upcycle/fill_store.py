"""Fills a server's store with the features of a dataset's frames, as vehicles would send them but without a network.

    upcycle features --run FILE

Only features leave the frames: extraction, guard and codec are the vehicle's own code.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from server.repositories.archive import SceneArchive, open_archive
from server.repositories.repository import SceneFilter
from server.training.guarding import scene_generator
from server.training.labelled_data import in_range
from server.training.preparation import make_detector
from server.training.recipe import Recipe
from server.training.recipes.upcycling import Upcycling
from server.training.run_config import RunConfig
from server.training.source_config import SourceConfig
from server.training.sources import Source, fleet_id, labelled_frames, open_source
from shared_models import guards
from shared_models.datasets.kitti_calibration import camera_view
from shared_models.detector import Detector
from shared_models.errors import DatasetError
from shared_models.guard import Guard
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


def fill_store(
    detector: Detector,
    config: SourceConfig,
    data: Path,
    codec: str,
    guard: str = "none",
    progress: Progress | None = None,
) -> Filled:
    """Store the features of the source's frames that are not stored yet. data: the server's data folder.

    guard: as `shared_models.guards.build` takes it. Its random numbers follow from vehicle and frame, so that who fills
    another store gets the same scenes; a vehicle draws them anew.

    Raises:
        UnknownNameError, ConfigError: the guard does not exist, or has other settings.
        ConfigError, DatasetError: the source cannot be read.
        StorageFullError, StorageError: a scene could not be stored; those before it are.
    """
    protect = guards.build(guard)
    source, vehicle_id = open_source(config, data / "cache", with_labels=False), fleet_id(config, protect.described())
    archive = open_archive(data, is_new_allowed=True)
    try:
        where = SceneFilter(vehicle_id=vehicle_id, codec=codec, backbone_hash=detector.backbone_hash)
        stored = {scene.manifest.frame_id for scene in archive.catalogue.scenes(where)}
        wanted = [frame_id for frame_id in source.frame_ids if frame_id not in stored]
        added_bytes = _store((detector, protect), source, wanted, archive, (vehicle_id, codec), progress)
    finally:
        archive.close()
    return Filled(vehicle_id=vehicle_id, scenes=len(source.frame_ids), added=len(wanted), payload_bytes=added_bytes)


def _store(
    vehicle: tuple[Detector, Guard],
    source: Source,
    wanted: list[str],
    archive: SceneArchive,
    names: tuple[str, str],
    progress: Progress | None,
) -> int:
    (detector, guard), (vehicle_id, codec) = vehicle, names
    extractor = Extractor(detector, ExtractorConfig(is_detecting=guard.needs_detections))
    total = 0
    for number, frame_id in enumerate(wanted, start=1):
        frame = _seen(source.dataset.frame(frame_id), source.config.view)
        extraction, generator = extractor.extract(frame), scene_generator(vehicle_id, frame_id)
        features = guard.apply(extraction.features, generator, extractor.guard_context(extraction))
        scene = encode_scene(vehicle_id, frame, features, codec)
        archive.add(scene, time.time_ns())
        total += len(scene.payload)
        if progress is not None:
            progress(number, len(wanted))
    return total


def _seen(frame: Frame, view: str) -> Frame:
    """The frame with the points that labelled frames of the same view have."""
    if view == "all":
        return frame
    if frame.camera is None:
        raise DatasetError(f"frame {frame.frame_id} has no camera; read it with view = 'all'")
    inside = camera_view(frame.points, frame.camera)
    return Frame(
        frame_id=frame.frame_id,
        timestamp_ns=frame.timestamp_ns,
        points=frame.points[inside],
        point_fields=frame.point_fields,
    )


def uses_stored_features(run: RunConfig) -> bool:
    """Whether the run learns from stored features of frames that its file names, so that they can be made here."""
    return run.recipe == "upcycling" and run.data.unlabelled is not None and not run.settings["store"]["vehicle_id"]


def fill_for(run: RunConfig, data: Path, progress: Progress | None = None) -> Filled:
    """Store the features that `run` learns from, made by the vehicle part of the detector that it starts with.

    Raises: as `fill_store` and `make_detector`.
    """
    assert run.data.unlabelled is not None
    store = run.settings["store"]
    folder = Path(store["folder"]) if store["folder"] else data
    detector = make_detector(run.detector, run.seed).eval()
    return fill_store(detector, run.data.unlabelled, folder, store["codec"], store["guard"], progress)


def give_known_labels(recipe: Recipe) -> None:
    """Let an UpCycling recipe compare its pseudo labels with the true ones where the unlabelled dataset has labels.

    For telemetry only: nothing that is learned depends on them.
    """
    unlabelled = recipe.setup.run.data.unlabelled
    if not isinstance(recipe, Upcycling) or unlabelled is None or not recipe.config.compare_with_labels:
        return
    source = open_source(unlabelled, recipe.setup.data / "cache")
    if source.dataset.frame(source.frame_ids[0]).labels is not None:
        scans = labelled_frames(source, recipe.setup.detector)
        range_m = recipe.setup.range_m
        recipe.known_labels = {scan.frame_id: in_range(scan.truth, range_m) for scan in scans}
