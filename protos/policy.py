"""What a server accepts, as records that vehicle and server share."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, fields

from shared_models.errors import (
    BackboneMismatchError,
    CodecRefusedError,
    GuardRefusedError,
    InvalidValueError,
    PayloadTooLargeError,
    VersionError,
)
from shared_models.records import SceneManifest, check
from shared_models.records.features import MAX_GUARD_LENGTH

PROTOCOL_VERSIONS = (1,)
MAX_MESSAGE_BYTES = 4 << 20  # gRPC's own default; no message of this protocol comes near it


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits that a server sets; every field is at least 1.

    max_payload_bytes: encoded payload of one scene, bytes.
    max_decoded_bytes: the same after decompression, bytes.
    max_chunk_bytes: data of one chunk, bytes, at most 1 MiB; vehicles use what suits their link, and no more than that.
    max_scenes_in_flight: scenes begun and not yet answered, per stream.
    max_scene_ids_per_query: ids in one status query.
    """

    max_payload_bytes: int = 64 << 20
    max_decoded_bytes: int = 256 << 20
    max_chunk_bytes: int = 1 << 20
    max_scenes_in_flight: int = 8
    max_scene_ids_per_query: int = 1000

    def __post_init__(self) -> None:
        for each in fields(self):
            if getattr(self, each.name) < 1:
                raise InvalidValueError(f"Limits.{each.name}: expected at least 1, got {getattr(self, each.name)}")
        if self.max_chunk_bytes > 1 << 20:
            raise InvalidValueError(f"Limits.max_chunk_bytes: expected at most 1 MiB, got {self.max_chunk_bytes}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Which scenes a server accepts.

    backbone_hashes: accepted backbones (hex); None accepts any, which is for trials only.
    codecs: accepted codec names.
    split_layers: accepted split layers; empty accepts any.
    limits: sizes and counts.
    guard: what vehicles must do to features before they pack them, as `Guard.described()` writes it; "none": leave them
        as they are; "": as each vehicle likes.
    """

    backbone_hashes: frozenset[str] | None
    codecs: frozenset[str]
    split_layers: frozenset[str] = frozenset()
    limits: Limits = field(default_factory=Limits)
    guard: str = ""

    def __post_init__(self) -> None:
        if self.guard:
            check.name("Policy", "guard", self.guard, MAX_GUARD_LENGTH)
        for value in self.backbone_hashes or ():
            check.sha256_hex("Policy", "backbone_hashes", value)
        for name in ("codecs", "split_layers"):
            for value in getattr(self, name):
                check.name("Policy", name, value)
        if self.backbone_hashes is not None and not self.backbone_hashes:
            raise InvalidValueError("Policy.backbone_hashes: expected at least one hash, or None for any; got none")
        if not self.codecs:
            raise InvalidValueError("Policy.codecs: expected at least one name, got none")

    @property
    def policy_id(self) -> str:
        """SHA-256 (hex) over everything in the policy; vehicles only compare it with the last one they saw."""
        backbones = ["*"] if self.backbone_hashes is None else sorted(self.backbone_hashes)
        lines = ["upcycle.policy.v1"]
        lines += [f"backbone {value}" for value in backbones]
        lines += [f"codec {value}" for value in sorted(self.codecs)]
        lines += [f"split_layer {value}" for value in sorted(self.split_layers)]
        lines += [f"{each.name} {getattr(self.limits, each.name)}" for each in fields(self.limits)]
        lines += [f"guard {self.guard}"] if self.guard else []  # without one, the id is as it was before guards
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def check_backbone(self, backbone_hash: str, split_layer: str) -> None:
        """Raises BackboneMismatchError: this backbone, or features from this layer of it, are not accepted."""
        if self.backbone_hashes is not None and backbone_hash not in self.backbone_hashes:
            known = ", ".join(h[:12] for h in sorted(self.backbone_hashes))
            raise BackboneMismatchError(
                f"backbone {backbone_hash[:12]} is not accepted, the server accepts {known}: "
                "load the server's checkpoint on the vehicle"
            )
        if self.split_layers and split_layer not in self.split_layers:
            raise BackboneMismatchError(
                f"features of layer {split_layer!r} are not accepted, the server accepts "
                f"{', '.join(sorted(self.split_layers))}"
            )

    def check_codec(self, *codecs: str) -> None:
        """Raises CodecRefusedError: none of `codecs` is accepted."""
        if not self.codecs.intersection(codecs):
            raise CodecRefusedError(
                f"codec {', '.join(codecs) or '(none named)'} is not accepted, the server accepts "
                f"{', '.join(sorted(self.codecs))}"
            )

    def check_guard(self, guard: str, item: str) -> None:
        """Raises GuardRefusedError: `item`'s features are under another guard than the policy's.

        guard: as `Guard.described()` writes it, "none" where there is none.
        """
        if self.guard and guard != self.guard:
            raise GuardRefusedError(
                f"{item}: its features are under guard {guard!r}, the server takes {self.guard!r} only: "
                "make it anew under that guard"
            )

    def check_manifest(self, manifest: SceneManifest) -> None:
        """Refuse a scene before its payload is sent.

        Raises:
            BackboneMismatchError, CodecRefusedError, PayloadTooLargeError: the scene is not accepted.
        """
        self.check_backbone(manifest.backbone_hash, manifest.split_layer)
        self.check_codec(manifest.codec)
        if manifest.payload_bytes > self.limits.max_payload_bytes:
            raise PayloadTooLargeError(
                f"frame {manifest.frame_id}: {manifest.payload_bytes} bytes declared, the server takes at most "
                f"{self.limits.max_payload_bytes}: use a smaller codec or crop the scene"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerTerms:
    """What a server answered to a vehicle's hello.

    credit_bytes: payload bytes that may be sent before the server grants more; 0 where it sets no such limit.
    takes_data_in_begin: the message that begins a scene may carry its first bytes, and its last chunk may finish it.
    """

    protocol_version: int
    policy: Policy
    credit_bytes: int = 0
    server_version: str = ""
    takes_data_in_begin: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class VehicleIdentity:
    """Who sends, and what its features are made with.

    backbone_hash: of the backbone in use now, hex.
    codecs: all that may be used on a stream.
    """

    vehicle_id: str
    backbone_hash: str
    split_layer: str = "conv_out"
    codecs: tuple[str, ...] = ("float32", "float16", "int8", "int4")
    protocol_versions: tuple[int, ...] = PROTOCOL_VERSIONS
    client_version: str = ""

    def __post_init__(self) -> None:
        check.name("VehicleIdentity", "vehicle_id", self.vehicle_id)
        check.name("VehicleIdentity", "split_layer", self.split_layer)
        check.sha256_hex("VehicleIdentity", "backbone_hash", self.backbone_hash)


def choose_version(offered: tuple[int, ...]) -> int:
    """The highest protocol version that both sides speak.

    Raises:
        VersionError: there is none.
    """
    common = set(offered) & set(PROTOCOL_VERSIONS)
    if not common:
        raise VersionError(
            f"the vehicle speaks protocol versions {sorted(offered)[:10]}, this server {sorted(PROTOCOL_VERSIONS)}: "
            "update the older side"
        )
    return max(common)
