"""Small runs that follow their store, and what vehicles, good and bad ones, put into it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from server.repositories.archive import open_archive
from server.repositories.repository import StoredScene
from server.training.follow_records import FollowRecords
from server.training.preparation import make_detector
from server.training.run_config import RunConfig, parse_run
from server.training.run_folder import RunFolder
from shared_models import checkpoints, codecs
from shared_models.datasets import open_dataset
from shared_models.detectors.anchor_detector import AnchorDetector
from shared_models.records import EncodedScene, GridFeatures, SceneFeatures, SceneManifest
from tests.small_runs import small_run, small_table, write_frames
from upcycle.follow_session import following

Change = Callable[[SceneFeatures], SceneFeatures]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """A server's data folder, and frames whose features vehicles upload into it."""

    data: Path
    run: RunConfig
    detector: AnchorDetector
    frames: Path

    @property
    def folder(self) -> RunFolder:
        return RunFolder.of(self.data, self.run)

    @property
    def records(self) -> FollowRecords:
        return FollowRecords(self.folder.path)

    def upload(self, vehicle: str, numbers: range, change: Change = lambda features: features) -> list[StoredScene]:
        """These frames' features from one vehicle, changed as a bad one might; what the catalogue then holds."""
        dataset, payloads = open_dataset("kitti", self.frames, "all"), []
        for number in numbers:
            frame = dataset.frame(dataset.frame_ids[number])
            with torch.inference_mode():
                found = self.detector.extract(torch.from_numpy(frame.columns(self.detector.point_fields)))
            payloads.append((frame.frame_id, codecs.encode(change(found), "float16")))
        return self.store(vehicle, payloads)

    def store(self, vehicle: str, payloads: list[tuple[str, bytes]]) -> list[StoredScene]:
        """Payloads, decodable or not, of one vehicle."""
        archive = open_archive(self.data, is_new_allowed=True)
        try:
            return [archive.add(self._encoded(vehicle, *each), stored_at_ns=1) for each in payloads]
        finally:
            archive.close()

    def _encoded(self, vehicle: str, frame_id: str, payload: bytes) -> EncodedScene:
        manifest = SceneManifest(
            vehicle_id=vehicle,
            frame_id=frame_id,
            timestamp_ns=0,
            payload_sha256=hashlib.sha256(payload).hexdigest(),
            payload_bytes=len(payload),
            codec="float16",
            split_layer="conv_out",
            backbone_hash=self.detector.backbone_hash,
        )
        return EncodedScene(manifest=manifest, payload=payload)

    def delete(self, vehicle: str) -> None:
        """All scenes of a vehicle, as `upcycle server` does: catalogue, then payloads that nobody else has."""
        archive = open_archive(self.data, is_new_allowed=True)
        try:
            ids = [scene.scene_id for scene in archive.catalogue.scenes() if scene.manifest.vehicle_id == vehicle]
            for scene in archive.catalogue.remove(ids):
                if not archive.catalogue.has_payload(scene.manifest.payload_sha256):
                    archive.store.remove(scene.manifest.payload_sha256)
        finally:
            archive.close()


def make_fleet(folder: Path, *changes: str) -> Fleet:
    """A run of two-step rounds with 3 labelled and 12 held-out frames, and 16 frames for vehicles; nothing stored."""
    labelled = write_frames(folder / "labelled", 3)
    held_out = write_frames(folder / "held-out", 12, points=390)
    seeded = small_run(labelled)
    detector = make_detector(seeded.detector, seeded.seed).eval().requires_grad_(False)
    checkpoints.save(detector, folder / "first", is_trained=True)
    fixed = (
        "recipe=upcycling",
        f"data.evaluation={{dataset='kitti', root='{held_out}', split='all'}}",
        "settings.pseudo_labels.class_score=0.0",
        "settings.pseudo_labels.box_score=[0.3]",
        "follow.round_steps=2",
        "settings.unlabelled_ratio=3",  # twelve scenes a round: up to six are all learned from
        "follow.poll_s=0.01",
        "follow.gate.resamples=3",
        "evaluation.overlaps=['strict']",
        *changes,
    )
    table = small_table(labelled, *fixed)
    table["detector"] = {"name": "second_iou", "checkpoint": str(folder / "first")}
    del table["loop"]["steps"]
    return Fleet(
        data=folder / "data",
        run=following(parse_run(table, "test")),
        detector=detector,
        frames=write_frames(folder / "driven", 16, points=410),
    )


def noise(features: SceneFeatures) -> SceneFeatures:
    """Normal noise in the place of each feature."""
    generator = torch.Generator().manual_seed(3)
    return with_features(features, torch.randn(features.grid.features.shape, generator=generator))


def zeros(features: SceneFeatures) -> SceneFeatures:
    """Nothing but zeros."""
    return with_features(features, torch.zeros_like(features.grid.features))


def with_features(features: SceneFeatures, values: torch.Tensor) -> SceneFeatures:
    """The same cells with other values."""
    grid = GridFeatures(coords=features.grid.coords, features=values, shape=features.grid.shape)
    return SceneFeatures(
        grid=grid, keypoints=None, split_layer=features.split_layer, backbone_hash=features.backbone_hash
    )
