"""Format version 1 of a payload: a header in plain bytes, then one zstd frame (docs/payload-format.md)."""

from __future__ import annotations

import math
import re
import struct
import zlib

import torch
import zstandard
from torch import Tensor

from shared_models.codec import Codec, DecodeLimits, PayloadHeader
from shared_models.codecs import coordinates, positions
from shared_models.errors import InvalidValueError, PayloadError, PayloadTooLargeError, VersionError
from shared_models.records import GridFeatures, SceneFeatures, SetFeatures, check
from shared_models.records.features import MAX_GUARD_LENGTH

MAGIC = b"UPSF"
FORMAT_VERSION = 1
ZSTD_LEVEL = 1  # levels 3 and 6 change real features by -3 to +3 % and take at least twice as long
MAX_SPLIT_LAYER_BYTES = 800
MAX_GUARD_BYTES = 4 * MAX_GUARD_LENGTH

MAX_NAME_LENGTH = 200  # characters of the split layer's name

_PREFIX = struct.Struct("<4sHH")
_FIELDS = struct.Struct("<16s32s3IIIBBHIIQQ")  # follows the prefix
_CRC = struct.Struct("<I")
_HAS_KEYPOINTS = 1
_HAS_GUARD = 2  # the guard's description follows the split layer; without one, bytes are as they were before
_CODEC_NAME = re.compile(rb"[a-z][a-z0-9_]{0,15}\0*")


def write_payload(features: SceneFeatures, codec: Codec) -> bytes:
    """Header and compressed body of one scene."""
    grid, keypoints = features.grid, features.keypoints
    _check_encodable(grid)
    width, steps = coordinates.pack(grid.keys().cpu())
    sections = [steps, codec.pack(_plain(grid.features))]
    if keypoints is not None:
        sections += [positions.pack(_plain(keypoints.positions)), codec.pack(_plain(keypoints.features))]
    body = b"".join(sections)
    # One thread: several would cut the frame elsewhere, and equal features must give equal bytes.
    frame = zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_checksum=True, write_content_size=True).compress(body)
    return _write_header(features, codec.name, width, len(frame), len(body)) + frame


def _check_encodable(grid: GridFeatures) -> None:
    if not all(0 < size < 2**31 for size in grid.shape) or math.prod(grid.shape) > coordinates.MAX_MAP_CELLS:
        raise InvalidValueError(
            f"GridFeatures.shape: expected 1 to {coordinates.MAX_MAP_CELLS} cells in the map, got {grid.shape}"
        )


def _plain(values: Tensor) -> Tensor:
    return values.detach().cpu().contiguous()


def _write_header(features: SceneFeatures, codec: str, width: int, frame_bytes: int, body_bytes: int) -> bytes:
    layer, guard = features.split_layer.encode(), features.guard.encode()
    keypoints = features.keypoints
    size = _PREFIX.size + _FIELDS.size + len(layer) + len(guard) + _CRC.size
    head = _PREFIX.pack(MAGIC, FORMAT_VERSION, size) + _FIELDS.pack(
        codec.encode(),
        bytes.fromhex(features.backbone_hash),
        *features.grid.shape,
        *features.grid.features.shape,
        (0 if keypoints is None else _HAS_KEYPOINTS) | (_HAS_GUARD if guard else 0),
        width,
        len(layer),
        *((0, 0) if keypoints is None else keypoints.features.shape),
        frame_bytes,
        body_bytes,
    )
    head += layer + guard
    return head + _CRC.pack(zlib.crc32(head))


def read_header(payload: bytes, limits: DecodeLimits) -> PayloadHeader:
    """The header of `payload`, checked against its checksum, `limits` and the payload's length."""
    if len(payload) > limits.max_payload_bytes:
        raise PayloadTooLargeError(
            f"payload: at most {limits.max_payload_bytes} bytes are accepted, got {len(payload)}; send a smaller scene"
        )
    size = _checked_size(payload)
    (stored,) = _CRC.unpack_from(payload, size - _CRC.size)
    actual = zlib.crc32(payload[: size - _CRC.size])
    if stored != actual:
        raise PayloadError(f"payload header: its CRC-32 is {actual:08x}, it says {stored:08x}; send the scene again")
    header = _parse(payload, size)
    _check_sizes(header, len(payload), limits)
    return header


def _checked_size(payload: bytes) -> int:
    """Length of the header; magic and version are looked at first, so that other versions may change all else."""
    if len(payload) < _PREFIX.size:
        raise PayloadError(f"payload: expected at least {_PREFIX.size} bytes of header, got {len(payload)}")
    magic, version, size = _PREFIX.unpack_from(payload)
    if magic != MAGIC:
        raise PayloadError(f"payload: expected the magic bytes {MAGIC!r}, got {magic!r}; this is no scene payload")
    if version != FORMAT_VERSION:
        raise VersionError(f"payload: this build reads format version {FORMAT_VERSION}, got version {version}")
    smallest = _PREFIX.size + _FIELDS.size + 1 + _CRC.size
    largest = min(smallest - 1 + MAX_SPLIT_LAYER_BYTES + MAX_GUARD_BYTES, len(payload))
    if not smallest <= size <= largest:
        raise PayloadError(f"payload header: expected a length of {smallest} to {largest} bytes, got {size}")
    return int(size)


def _parse(payload: bytes, size: int) -> PayloadHeader:
    (name, backbone, depth, height, width, cells, channels, flags, step, layer_bytes, keypoints, keypoint_channels,
     frame_bytes, body_bytes) = _FIELDS.unpack_from(payload, _PREFIX.size)  # fmt: skip
    if not _CODEC_NAME.fullmatch(name):
        raise PayloadError(f"payload header: codec name {name!r} is not a lower-case name filled up with zeros")
    words = payload[_PREFIX.size + _FIELDS.size : size - _CRC.size]
    if len(words) < layer_bytes or (len(words) > layer_bytes and not flags & _HAS_GUARD):
        raise PayloadError(f"payload header: split layer of {layer_bytes} bytes declared, {len(words)} present")
    has_keypoints = bool(flags & _HAS_KEYPOINTS)
    if flags & ~(_HAS_KEYPOINTS | _HAS_GUARD) or (not has_keypoints and (keypoints or keypoint_channels)):
        raise PayloadError(f"payload header: flags {flags} with {keypoints} x {keypoint_channels} keypoint features")
    if step not in coordinates.WIDTHS:
        raise PayloadError(f"payload header: expected 1, 2 or 4 bytes a coordinate step, got {step}")
    return PayloadHeader(
        format_version=FORMAT_VERSION,
        codec=name.rstrip(b"\0").decode(),
        split_layer=_name(words[:layer_bytes], "split_layer", MAX_NAME_LENGTH),
        backbone_hash=backbone.hex(),
        grid_shape=(depth, height, width),
        cells=cells,
        channels=channels,
        keypoints=keypoints if has_keypoints else None,
        keypoint_channels=keypoint_channels,
        coordinate_bytes=step,
        header_bytes=size,
        frame_bytes=frame_bytes,
        body_bytes=body_bytes,
        guard=_name(words[layer_bytes:], "guard", MAX_GUARD_LENGTH) if flags & _HAS_GUARD else "",
    )


def _name(raw: bytes, field: str, longest: int) -> str:
    try:
        name = raw.decode()
        check.name("payload header", field, name, longest)
    except UnicodeDecodeError as error:
        raise PayloadError(f"payload header: {field} is not UTF-8") from error
    except InvalidValueError as error:
        raise PayloadError(str(error)) from error
    return name


def _check_sizes(header: PayloadHeader, payload_bytes: int, limits: DecodeLimits) -> None:
    if header.header_bytes + header.frame_bytes != payload_bytes:
        raise PayloadError(
            f"payload: header of {header.header_bytes} and body of {header.frame_bytes} bytes declared, "
            f"{payload_bytes} bytes present; send the scene again"
        )
    map_cells, most_cells = math.prod(header.grid_shape), min(limits.max_map_cells, coordinates.MAX_MAP_CELLS)
    if map_cells == 0:
        raise PayloadError(f"payload header: a map of {header.grid_shape} has no cells")
    if map_cells > most_cells:
        raise PayloadTooLargeError(
            f"payload header: a map of {header.grid_shape} has {map_cells} cells; at most {most_cells} are accepted"
        )
    if header.cells > map_cells:
        raise PayloadError(f"payload header: {header.cells} cells do not fit into a map of {map_cells}")
    rows, channels = (header.cells, header.keypoints or 0), (header.channels, header.keypoint_channels)
    decoded = sum(4 * r * c for r, c in zip(rows, channels, strict=True))
    for what, value, most in (
        ("rows", max(rows), limits.max_rows),
        ("channels", max(channels), limits.max_channels),
        ("bytes of decoded features", decoded, limits.max_decoded_bytes),
        ("bytes of body", header.body_bytes, limits.max_decoded_bytes),
    ):
        if value > most:
            raise PayloadTooLargeError(f"payload header: {value} {what} declared; at most {most} are accepted")


def read_payload(payload: bytes, header: PayloadHeader, codec: Codec, limits: DecodeLimits) -> SceneFeatures:
    """The features in the body that `header`, already checked, declares."""
    _check_body_size(header, codec)
    body = memoryview(_decompress(payload, header))
    try:
        keys, at = coordinates.unpack(body, header.cells, header.coordinate_bytes, header.grid_shape)
        values, used = codec.unpack(body[at:], header.cells, header.channels)
        at += used
        keypoints = None
        if header.keypoints is not None:
            keypoints, used = _read_keypoints(body[at:], header.keypoints, header.keypoint_channels, codec)
            at += used
        if at != len(body):
            raise PayloadError(f"payload body: {len(body) - at} bytes after the last section")
        return SceneFeatures(
            grid=GridFeatures(coords=keys, features=values, shape=header.grid_shape),
            keypoints=keypoints,
            split_layer=header.split_layer,
            backbone_hash=header.backbone_hash,
            guard=header.guard,
        )
    except InvalidValueError as error:  # a record refused what the sections gave
        raise PayloadError(f"payload: {error}") from error


def _check_body_size(header: PayloadHeader, codec: Codec) -> None:
    largest = header.cells * header.coordinate_bytes + codec.largest_block_bytes(header.cells, header.channels)
    if header.keypoints is not None:
        largest += positions.block_bytes(header.keypoints)
        largest += codec.largest_block_bytes(header.keypoints, header.keypoint_channels)
    if header.body_bytes > largest:
        raise PayloadError(
            f"payload header: a body of {header.body_bytes} bytes declared; its shapes need at most {largest}"
        )


def _decompress(payload: bytes, header: PayloadHeader) -> bytes:
    """The frame's content: its declared length must agree before memory for it is taken."""
    frame = memoryview(payload)[header.header_bytes :]
    try:
        declared = zstandard.get_frame_parameters(frame)
        if declared.content_size != header.body_bytes or not declared.has_checksum or declared.dict_id:
            raise PayloadError(
                f"payload body: expected a zstd frame of {header.body_bytes} bytes with checksum and no dictionary, "
                f"got {declared.content_size} bytes, checksum {declared.has_checksum}, dictionary {declared.dict_id}"
            )
        body = zstandard.ZstdDecompressor().decompress(frame, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise PayloadError(f"payload body: not one whole zstd frame ({error}); send the scene again") from error
    if len(body) != header.body_bytes:
        raise PayloadError(f"payload body: {header.body_bytes} bytes declared, {len(body)} decompressed")
    return body


def _read_keypoints(block: memoryview, count: int, channels: int, codec: Codec) -> tuple[SetFeatures, int]:
    where, at = positions.unpack(block, count)
    values, used = codec.unpack(block[at:], count, channels)
    return SetFeatures(positions=where.to(torch.float32), features=values), at + used
