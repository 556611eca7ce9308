"""The one place where messages become records and records become messages.

What comes from outside is checked here: a malformed message raises `ProtocolError`, never anything else.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import asdict, fields

import torch

from protos.policy import Limits, Policy, ServerTerms, VehicleIdentity
from protos.report import VehicleReport
from protos.v1 import common_pb2, ingest_pb2
from shared_models.errors import IntegrityError, InvalidValueError, ProtocolError
from shared_models.records import Detections, EncodedScene, SceneManifest, check

HASH_BYTES = 32
MAX_NAMES = 64  # in one list of a message


def manifest_to_message(manifest: SceneManifest) -> ingest_pb2.SceneManifest:
    """The wire form of `manifest`."""
    return ingest_pb2.SceneManifest(
        vehicle_id=manifest.vehicle_id,
        frame_id=manifest.frame_id,
        timestamp_ns=manifest.timestamp_ns,
        codec=manifest.codec,
        split_layer=manifest.split_layer,
        backbone_hash=bytes.fromhex(manifest.backbone_hash),
        payload_sha256=bytes.fromhex(manifest.payload_sha256),
        payload_bytes=manifest.payload_bytes,
        region=manifest.region,
    )


def manifest_from_message(message: ingest_pb2.SceneManifest) -> SceneManifest:
    """The record of a manifest that came in.

    Raises:
        ProtocolError: a field is missing or malformed.
    """
    _check_vehicle_id(message.vehicle_id)
    try:
        return SceneManifest(
            vehicle_id=message.vehicle_id,
            frame_id=message.frame_id,
            timestamp_ns=message.timestamp_ns,
            codec=message.codec,
            split_layer=message.split_layer,
            backbone_hash=_hash_hex("backbone_hash", message.backbone_hash),
            payload_sha256=_hash_hex("payload_sha256", message.payload_sha256),
            payload_bytes=message.payload_bytes,
            region=message.region,
        )
    except InvalidValueError as error:
        raise ProtocolError(str(error)) from error


def begin_to_message(manifest: SceneManifest, scene_id: str | None = None, data: bytes = b"") -> ingest_pb2.BeginScene:
    """The message that opens a scene.

    scene_id: the manifest's, where it is known already. data: the first bytes of the payload, or all.
    """
    is_part = 0 < len(data) < manifest.payload_bytes
    return ingest_pb2.BeginScene(
        scene_id=bytes.fromhex(scene_id or manifest.scene_id),
        manifest=manifest_to_message(manifest),
        data=data,
        crc32=zlib.crc32(data) if is_part else None,
    )


def begin_from_message(message: ingest_pb2.BeginScene) -> SceneManifest:
    """The manifest of a scene that is being opened.

    Raises:
        ProtocolError: malformed, or the scene id is not the one that follows from the manifest.
    """
    manifest = manifest_from_message(message.manifest)
    claimed, expected = message.scene_id.hex(), manifest.scene_id
    if claimed != expected:
        raise ProtocolError(
            f"frame {manifest.frame_id}: scene id {claimed[:12]} does not follow from the manifest, "
            f"expected {expected[:12]}; see docs/protocol.md"
        )
    return manifest


def check_begin_data(message: ingest_pb2.BeginScene, data: bytes, max_bytes: int) -> None:
    """Check `data`, the first bytes of the payload that came with the message that opens a scene; b"" where none did.

    Raises:
        ProtocolError: more than the payload has or than the server's limit, or a part without its CRC.
        IntegrityError: a part does not match its CRC. The whole payload has its SHA-256 instead.
    """
    declared = message.manifest.payload_bytes
    if len(data) > min(max_bytes, declared):
        raise ProtocolError(f"begin: expected at most {min(max_bytes, declared)} bytes of data, got {len(data)}")
    if message.HasField("crc32"):
        _check_crc(data, message.crc32, 0)
    elif 0 < len(data) < declared:
        raise ProtocolError(f"begin: {len(data)} of {declared} bytes of data came without their CRC-32")


def chunks_of(
    scene: EncodedScene, chunk_bytes: int, offset: int = 0, is_last_told: bool = False
) -> Iterator[ingest_pb2.Chunk]:
    """The scene's payload from `offset` on, in messages of at most `chunk_bytes` of data each.

    is_last_told: the last one finishes the scene, for servers that understand it.

    Raises:
        ProtocolError: `offset` lies behind the payload's end.
    """
    if offset > len(scene.payload):
        raise ProtocolError(f"offset {offset} asked for, the payload has {len(scene.payload)} bytes")
    scene_id, end = bytes.fromhex(scene.manifest.scene_id), len(scene.payload)
    for start in range(offset, end, chunk_bytes):
        data = scene.payload[start : start + chunk_bytes]
        is_last = is_last_told and start + chunk_bytes >= end
        yield ingest_pb2.Chunk(scene_id=scene_id, offset=start, data=data, crc32=zlib.crc32(data), is_last=is_last)


def chunk_data(message: ingest_pb2.Chunk, max_bytes: int) -> bytes:
    """The data of a chunk that came in, checked on its own.

    Raises:
        ProtocolError: empty, or larger than the server's limit.
        IntegrityError: the data do not match their CRC.
    """
    data = message.data
    if not 0 < len(data) <= max_bytes:
        raise ProtocolError(f"chunk at {message.offset}: expected 1 to {max_bytes} bytes of data, got {len(data)}")
    _check_crc(data, message.crc32, message.offset)
    return data


def scene_from_parts(manifest: ingest_pb2.SceneManifest, payload: bytes) -> EncodedScene:
    """A scene put together again.

    Raises:
        ProtocolError: the manifest is malformed.
        IntegrityError: the payload is not the manifest's.
    """
    return EncodedScene(manifest=manifest_from_message(manifest), payload=payload)


def detections_to_message(detections: Detections) -> common_pb2.Detections:
    """The wire form of `detections`; boxes and scores stay bit for bit what they are in float32."""
    return common_pb2.Detections(
        boxes=detections.boxes.detach().float().cpu().flatten().tolist(),
        scores=detections.scores.detach().float().cpu().tolist(),
        labels=detections.labels.cpu().tolist(),
        class_names=detections.class_names,
    )


def detections_from_message(message: common_pb2.Detections) -> Detections:
    """The record of detections that came in.

    Raises:
        ProtocolError: the lists do not fit each other, or a label has no class name.
    """
    count = len(message.scores)
    if len(message.boxes) != 7 * count or len(message.labels) != count:
        raise ProtocolError(
            f"detections: expected 7 numbers and 1 label per score, got {len(message.boxes)} and "
            f"{len(message.labels)} for {count} scores"
        )
    try:
        return Detections(
            boxes=torch.tensor(list(message.boxes), dtype=torch.float32).reshape(count, 7),
            scores=torch.tensor(list(message.scores), dtype=torch.float32),
            labels=torch.tensor(list(message.labels), dtype=torch.int64),
            class_names=tuple(message.class_names),
        )
    except InvalidValueError as error:
        raise ProtocolError(str(error)) from error


def policy_to_message(policy: Policy) -> common_pb2.Policy:
    """The wire form of `policy`."""
    limits = policy.limits
    return common_pb2.Policy(
        policy_id=bytes.fromhex(policy.policy_id),
        backbone_hashes=[bytes.fromhex(h) for h in sorted(policy.backbone_hashes or ())],
        is_any_backbone_accepted=policy.backbone_hashes is None,
        codecs=sorted(policy.codecs),
        split_layers=sorted(policy.split_layers),
        guard=policy.guard,
        limits=common_pb2.Limits(
            max_payload_bytes=limits.max_payload_bytes,
            max_decoded_bytes=limits.max_decoded_bytes,
            max_chunk_bytes=limits.max_chunk_bytes,
            max_scenes_in_flight=limits.max_scenes_in_flight,
            max_scene_ids_per_query=limits.max_scene_ids_per_query,
        ),
    )


def policy_from_message(message: common_pb2.Policy) -> Policy:
    """The record of a policy that came in.

    Raises:
        ProtocolError: malformed.
    """
    try:
        limits = Limits(
            max_payload_bytes=message.limits.max_payload_bytes,
            max_decoded_bytes=message.limits.max_decoded_bytes,
            max_chunk_bytes=message.limits.max_chunk_bytes,
            max_scenes_in_flight=message.limits.max_scenes_in_flight,
            max_scene_ids_per_query=message.limits.max_scene_ids_per_query,
        )
        hashes = frozenset(_hash_hex("backbone_hashes", h) for h in message.backbone_hashes)
        return Policy(
            backbone_hashes=None if message.is_any_backbone_accepted else hashes,
            codecs=frozenset(message.codecs),
            split_layers=frozenset(message.split_layers),
            limits=limits,
            guard=message.guard,
        )
    except InvalidValueError as error:
        raise ProtocolError(f"policy: {error}") from error


def hello_to_message(identity: VehicleIdentity) -> ingest_pb2.Hello:
    """The first message of a vehicle."""
    return ingest_pb2.Hello(
        protocol_versions=identity.protocol_versions,
        vehicle_id=identity.vehicle_id,
        backbone_hash=bytes.fromhex(identity.backbone_hash),
        split_layer=identity.split_layer,
        codecs=identity.codecs,
        client_version=identity.client_version,
    )


def hello_from_message(message: ingest_pb2.Hello) -> VehicleIdentity:
    """Who says hello.

    Raises:
        ProtocolError: a field is missing, malformed or far too long.
    """
    if len(message.codecs) > MAX_NAMES or len(message.protocol_versions) > MAX_NAMES:
        raise ProtocolError(f"hello: expected at most {MAX_NAMES} codecs and protocol versions")
    _check_vehicle_id(message.vehicle_id)
    try:
        return VehicleIdentity(
            vehicle_id=message.vehicle_id,
            backbone_hash=_hash_hex("backbone_hash", message.backbone_hash),
            split_layer=message.split_layer,
            codecs=tuple(message.codecs),
            protocol_versions=tuple(message.protocol_versions),
            client_version=message.client_version[:200],
        )
    except InvalidValueError as error:
        raise ProtocolError(f"hello: {error}") from error


def welcome_to_message(terms: ServerTerms) -> ingest_pb2.Welcome:
    """The server's answer to hello."""
    return ingest_pb2.Welcome(
        protocol_version=terms.protocol_version,
        policy=policy_to_message(terms.policy),
        credit_bytes=terms.credit_bytes,
        server_version=terms.server_version,
        takes_data_in_begin=terms.takes_data_in_begin,
    )


def welcome_from_message(message: ingest_pb2.Welcome) -> ServerTerms:
    """The server's terms.

    Raises:
        ProtocolError: malformed.
    """
    return ServerTerms(
        protocol_version=message.protocol_version,
        policy=policy_from_message(message.policy),
        credit_bytes=message.credit_bytes,
        server_version=message.server_version,
        takes_data_in_begin=message.takes_data_in_begin,
    )


def _check_crc(data: bytes, declared: int, offset: int) -> None:
    actual = zlib.crc32(data)
    if actual != declared:
        raise IntegrityError(f"chunk at {offset}: CRC-32 {declared:08x} declared, {actual:08x} found; send it again")


def scene_id_from_bytes(value: bytes) -> str:
    """A scene id that came in, as hex.

    Raises:
        ProtocolError: it is not 32 bytes long.
    """
    return _hash_hex("scene_id", value)


def _check_vehicle_id(value: str) -> None:
    try:
        check.name("message", "vehicle_id", value)
    except InvalidValueError:
        # Without the name: messages reach the log.
        raise ProtocolError(
            f"vehicle_id: expected 1 to 200 printable characters without '/' or '\\', got {len(value)} characters; "
            "see docs/protocol.md, Identities and checksums"
        ) from None


def _hash_hex(field: str, value: bytes) -> str:
    if len(value) != HASH_BYTES:
        raise ProtocolError(f"{field}: expected {HASH_BYTES} bytes, got {len(value)}")
    return value.hex()


def report_to_message(report: VehicleReport) -> ingest_pb2.VehicleReport:
    """The wire form of `report`."""
    return ingest_pb2.VehicleReport(**asdict(report))


def report_from_message(message: ingest_pb2.VehicleReport) -> VehicleReport:
    """The record of a report that came in.

    Raises:
        ProtocolError: a number is beyond 2^63 - 1.
    """
    try:
        return VehicleReport(**{each.name: getattr(message, each.name) for each in fields(VehicleReport)})
    except InvalidValueError as error:
        raise ProtocolError(str(error)) from error
