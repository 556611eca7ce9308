"""A scene as bytes, with the description that travels beside it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from shared_models.errors import IntegrityError, InvalidValueError
from shared_models.records import check


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneManifest:
    """What server and vehicle must agree on about one encoded scene, without decoding it.

    vehicle_id, frame_id: names, printable, without path separators.
    timestamp_ns: nanoseconds since the epoch when the scan was taken, 0 where unknown.
    codec: name of the codec in `shared_models.codecs`.
    split_layer, backbone_hash: as in `SceneFeatures`.
    payload_sha256: SHA-256 (hex) of the payload bytes.
    payload_bytes: length of the payload.
    region: where the scan was taken, a name as coarse as the operator chooses; "" where unknown. Not in the scene id.
    """

    vehicle_id: str
    frame_id: str
    timestamp_ns: int
    codec: str
    split_layer: str
    backbone_hash: str
    payload_sha256: str
    payload_bytes: int
    region: str = ""

    def __post_init__(self) -> None:
        for field in ("vehicle_id", "frame_id", "codec", "split_layer"):
            check.name("SceneManifest", field, getattr(self, field))
        if self.region:
            check.name("SceneManifest", "region", self.region)
        check.sha256_hex("SceneManifest", "backbone_hash", self.backbone_hash)
        check.sha256_hex("SceneManifest", "payload_sha256", self.payload_sha256)
        if not 0 <= self.timestamp_ns < 2**63:
            raise InvalidValueError(f"SceneManifest.timestamp_ns: expected 0 to 2^63 - 1, got {self.timestamp_ns}")
        if self.payload_bytes < 0:
            raise InvalidValueError(f"SceneManifest.payload_bytes: expected >= 0, got {self.payload_bytes}")

    @property
    def scene_id(self) -> str:
        """SHA-256 (hex) of vehicle, frame, time and payload: equal for every retry, different for every scene."""
        parts = (self.vehicle_id, self.frame_id, str(self.timestamp_ns), self.payload_sha256)
        return hashlib.sha256("\n".join(("upcycle.scene.v1", *parts)).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedScene:
    """One scene ready to be carried: payload bytes and their manifest."""

    manifest: SceneManifest
    payload: bytes

    def __post_init__(self) -> None:
        if len(self.payload) != self.manifest.payload_bytes:
            raise IntegrityError(
                f"scene {self.manifest.scene_id[:12]}: the manifest says {self.manifest.payload_bytes} bytes, "
                f"the payload has {len(self.payload)}"
            )
        actual = hashlib.sha256(self.payload).hexdigest()
        if actual != self.manifest.payload_sha256:
            raise IntegrityError(
                f"scene {self.manifest.scene_id[:12]}: the payload's SHA-256 is {actual[:12]}..., "
                f"the manifest says {self.manifest.payload_sha256[:12]}...; send the scene again"
            )
