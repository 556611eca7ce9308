"""A scene's messages: manifest, begin, chunks."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from protos.convert.fields import check_vehicle_id, hash_hex
from protos.v1 import ingest_pb2
from shared_models.errors import IntegrityError, InvalidValueError, ProtocolError
from shared_models.records import EncodedScene, SceneManifest


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
    check_vehicle_id(message.vehicle_id)
    try:
        return SceneManifest(
            vehicle_id=message.vehicle_id,
            frame_id=message.frame_id,
            timestamp_ns=message.timestamp_ns,
            codec=message.codec,
            split_layer=message.split_layer,
            backbone_hash=hash_hex("backbone_hash", message.backbone_hash),
            payload_sha256=hash_hex("payload_sha256", message.payload_sha256),
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


def scene_id_from_bytes(value: bytes) -> str:
    """A scene id that came in, as hex.

    Raises:
        ProtocolError: it is not 32 bytes long.
    """
    return hash_hex("scene_id", value)


def _check_crc(data: bytes, declared: int, offset: int) -> None:
    actual = zlib.crc32(data)
    if actual != declared:
        raise IntegrityError(f"chunk at {offset}: CRC-32 {declared:08x} declared, {actual:08x} found; send it again")
