"""Victims and the attacker's own scenes: scans through the frozen backbone, the guard and the codec, as on a vehicle.

Payloads and the scans behind them part here: an attack is given the former, only the measures see the latter.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from server.audit.threat import Ability, AttackerView, PairedScene, Threat
from shared_models import codecs, guards
from shared_models.backbones.cut_geometry import CutGeometry
from shared_models.dataset import Dataset
from shared_models.datasets.kitti_calibration import camera_view
from shared_models.datasets.simulated import drive_of
from shared_models.detectors.anchor_detector import AnchorDetector
from shared_models.detectors.guard_context import guard_context
from shared_models.errors import BackboneMismatchError, DatasetError, InvalidValueError
from shared_models.guard import GuardContext
from shared_models.guards.watch import GuardWatch
from shared_models.records import Frame, SceneFeatures, check

POINT_FIELDS = ("x", "y", "z", "intensity")


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneTruth:
    """What really was there. No attack is ever given one.

    scene_id: name of the frame.
    points: (N, 4) float32 [x y z intensity], metres, LiDAR frame: what the vehicle's backbone saw, inside its range.
    boxes: (M, 7) float32 [x y z length width height yaw], box centre, metres, radians. class_names: of the M boxes.
    properties: what is known about the scene ("dataset", "sensor", "drive", ...).
    position_m: x, y, z of the LiDAR in its street's frame, metres; None where it is not known.
    """

    scene_id: str
    points: NDArray[np.float32]
    boxes: NDArray[np.float32]
    class_names: tuple[str, ...]
    properties: Mapping[str, str] = field(default_factory=dict)
    position_m: tuple[float, float, float] | None = None

    def __post_init__(self) -> None:
        check.shape("SceneTruth", "points", self.points, (None, 4))
        check.dtype("SceneTruth", "points", self.points, np.float32)
        check.shape("SceneTruth", "boxes", self.boxes, (len(self.class_names), 7))

    @property
    def drive(self) -> str:
        """Scenes of one drive are alike. A scene whose drive is not known is one of its own."""
        return self.properties.get("drive", self.scene_id)

    @property
    def street(self) -> str:
        """What `position_m` is measured along; drives along one street have it in common."""
        return self.properties.get("street", self.drive)


@dataclass(frozen=True, slots=True, kw_only=True)
class Victims:
    """Stored payloads and, apart from them, the truth behind each; equally many, in the same order.

    guard_changed: payloads in which the guard has changed anything.
    """

    payloads: tuple[bytes, ...]
    truths: tuple[SceneTruth, ...]
    guard_changed: int = 0

    def __post_init__(self) -> None:
        if len(self.payloads) != len(self.truths):
            raise InvalidValueError(
                f"Victims: expected one truth for each payload, got {len(self.truths)} for {len(self.payloads)}"
            )

    def __len__(self) -> int:
        return len(self.payloads)


class AuditedVehicle:
    """Frozen backbone, guard and codec: what makes a payload of a scan."""

    def __init__(
        self, detector: AnchorDetector, *, guard: str = "none", codec: str = "float16", split_layer: str = "conv_out"
    ) -> None:
        """split_layer: one of `shared_models.backbones.cut_geometry.LAYERS`; vehicles send conv_out, the paper's
        decoders are also set on shallower ones.

        Raises:
            UnknownNameError: no such guard, codec or layer.
            InvalidValueError: the detector reads other point fields than x, y, z and intensity.
        """
        if detector.point_fields != POINT_FIELDS:
            raise InvalidValueError(f"the auditor needs a detector of {POINT_FIELDS}, this has {detector.point_fields}")
        detector.eval().requires_grad_(False)
        codecs.build(codec)
        self.detector, self.codec = detector, codec
        self.guard = guards.build(guard)
        self.geometry = CutGeometry.of(detector.config.voxels, split_layer)

    def features(self, points: NDArray[np.float32]) -> SceneFeatures:
        """Features of a scan (N, 4) float32 at the split layer, before the guard."""
        scan = torch.from_numpy(np.ascontiguousarray(points, np.float32))
        with torch.inference_mode():
            if self.geometry.split_layer == self.detector.split_layer:
                return self.detector.extract(scan)
            stages = self.detector.stages(self.detector.voxelize([scan]))
            return SceneFeatures(
                grid=getattr(stages, self.geometry.split_layer).scan(0),
                split_layer=self.geometry.split_layer,
                backbone_hash=self.detector.backbone_hash,
            )

    def payload(self, points: NDArray[np.float32], seed: int, watch: GuardWatch | None = None) -> bytes:
        """What leaves the vehicle for a scan (N, 4) float32; `seed` is of the guard's randomness.

        watch: of this vehicle's guard, to count what it changes.
        """
        features = self.features(points)
        with torch.inference_mode():
            generator = torch.Generator().manual_seed(seed)
            guarded = (watch or self.guard).apply(features, generator, self._context(points))
            return codecs.encode(guarded, self.codec)

    def _context(self, points: NDArray[np.float32]) -> GuardContext | None:
        found = None
        if self.guard.needs_detections:
            found = self.detector.detect(self.detector.extract(torch.from_numpy(np.ascontiguousarray(points))))
        return guard_context(self.detector, found, self.geometry.split_layer)


def read_truths(
    dataset: Dataset,
    frame_ids: Sequence[str],
    geometry: CutGeometry,
    view: Literal["all", "camera"] = "all",
    properties: Mapping[str, str] | None = None,
) -> Iterator[SceneTruth]:
    """The frames' scans inside the detector's range, one by one.

    view: "camera" keeps only what the frame's camera sees, as the detectors of KITTI are trained.

    Raises:
        NotFoundError, DatasetError: a frame is missing, or has no camera where one is needed.
    """
    for frame_id in frame_ids:
        yield _truth(dataset.frame(frame_id), geometry, view, dict(properties or {}))


def _truth(frame: Frame, geometry: CutGeometry, view: str, properties: dict[str, str]) -> SceneTruth:
    points = frame.columns(POINT_FIELDS)
    if view == "camera":
        if frame.camera is None:
            raise DatasetError(f"frame {frame.frame_id} has no camera; audit it with view = 'all'")
        points = points[camera_view(points, frame.camera)]
    labels, pose = frame.labels, frame.world_from_lidar
    street, drive = drive_of(frame.frame_id) or ("", "")
    known = {"street": street, "drive": drive} if drive else {}
    return SceneTruth(
        scene_id=frame.frame_id,
        points=points[geometry.inside(points)],
        boxes=np.zeros((0, 7), np.float32) if labels is None else labels.boxes,
        class_names=() if labels is None else labels.class_names,
        properties=properties | known,
        position_m=None if pose is None else (float(pose[0, 3]), float(pose[1, 3]), float(pose[2, 3])),
    )


def make_victims(vehicle: AuditedVehicle, truths: Iterable[SceneTruth], seed: int) -> Victims:
    """The payloads that a vehicle stores of these scenes; warns in the log where its guard changes nothing."""
    kept, watch = tuple(truths), GuardWatch(vehicle.guard)
    payloads = tuple(vehicle.payload(t.points, scene_seed(seed, "victim", t.scene_id), watch) for t in kept)
    watch.finish()
    return Victims(payloads=payloads, truths=kept, guard_changed=watch.changed)


def make_paired(vehicle: AuditedVehicle, truths: Iterable[SceneTruth], seed: int) -> Iterator[PairedScene]:
    """The attacker's own scenes: their scans are his to see. Guarded with other random numbers than the victims'."""
    for truth in truths:
        payload = vehicle.payload(truth.points, scene_seed(seed, "paired", truth.scene_id))
        yield PairedScene(points=truth.points, payload=payload, properties=truth.properties)


def check_payloads(payloads: Iterable[bytes], vehicle: AuditedVehicle) -> None:
    """Stored payloads are readable, and of the backbone and layer that are audited.

    Raises:
        SenderError: a payload is damaged, or of another backbone, layer or guard.
    """
    expected = (vehicle.detector.backbone_hash, vehicle.geometry.split_layer, guard_mark(vehicle))
    for number, payload in enumerate(payloads):
        features = codecs.decode(payload)
        actual = (features.backbone_hash, features.split_layer, features.guard)
        if actual != expected:
            raise BackboneMismatchError(
                f"payload {number}: expected (backbone, layer, guard) {(expected[0][:12], *expected[1:])}, "
                f"got {(actual[0][:12], *actual[1:])}; audit it with the checkpoint and guard that the vehicle used"
            )


def guard_mark(vehicle: AuditedVehicle) -> str:
    """What the vehicle's payloads say about their guard."""
    return "" if vehicle.guard.name == "none" else vehicle.guard.described()


def view_of(
    threat: Threat,
    vehicle: AuditedVehicle,
    payloads: Sequence[bytes],
    paired: Sequence[PairedScene] = (),
    seed: int = 0,
    *,
    detector: AnchorDetector | None = None,
    reference: AnchorDetector | None = None,
) -> AttackerView:
    """What an attacker under `threat` sees of these payloads.

    detector: a published one that is asked about, instead of the vehicle's own. reference: another for comparison.
    """
    gives = frozenset(threat.gives)
    return AttackerView(
        threat=threat.name,
        geometry=vehicle.geometry,
        payloads=tuple(payloads),
        budget=threat.budget,
        origin=threat.origin,
        detector=(detector or vehicle.detector) if Ability.WHITE_BOX in gives else None,
        query=_query(vehicle, threat.budget.queries, seed) if Ability.QUERY in gives else None,
        paired=tuple(paired[: threat.budget.scenes]) if Ability.PAIRED in gives else None,
        reference=reference if Ability.REFERENCE in gives else None,
    )


def _query(vehicle: AuditedVehicle, most: int, seed: int) -> Callable[[NDArray[np.float32]], bytes]:
    asked = 0

    def ask(points: NDArray[np.float32]) -> bytes:
        nonlocal asked
        if asked >= most:
            raise InvalidValueError(f"the attack has asked its {most} queries; raise the threat's budget.queries")
        asked += 1
        return vehicle.payload(points, scene_seed(seed, "query", str(asked)))

    return ask


def scene_seed(seed: int, purpose: str, name: str) -> int:
    """A seed of its own for each scene and purpose, below 2^63."""
    digest = hashlib.sha256(f"{seed}\n{purpose}\n{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
