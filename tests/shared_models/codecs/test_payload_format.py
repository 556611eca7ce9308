"""docs/payload-format.md is enough to read a payload: a plain reader written from it agrees with the fast one."""

from __future__ import annotations

import dataclasses
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zstandard

from shared_models import codecs
from shared_models.errors import CodecRefusedError, PayloadError, PayloadTooLargeError, VersionError
from shared_models.records import GridFeatures, SceneFeatures, SetFeatures

GOLDEN = Path(__file__).parents[2] / "golden" / "payloads"
NAMES = sorted(codecs.CODECS)
f32 = np.float32


class PlainReader:
    """Reads one number after another, as a first C++ version would."""

    def __init__(self, payload: bytes) -> None:
        self.data, self.at = payload, 0

    def take(self, form: str) -> Any:
        values = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return values[0] if len(values) == 1 else values

    def planes(self, count: int, width: int) -> list[int]:
        raw = self.take(f"{count * width}s")
        return [sum(raw[plane * count + i] << (8 * plane) for plane in range(width)) for i in range(count)]

    def patterns(self, rows: int, channels: int, width: int) -> list[int]:
        total = rows * channels
        mask = self.take(f"{(total + 7) // 8}s")
        used = [bool(mask[i // 8] >> (i % 8) & 1) for i in range(total)]
        values = iter(self.planes(sum(used), width))
        return [next(values) if is_used else 0 for is_used in used]

    def block(self, codec: str, rows: int, channels: int) -> np.ndarray:
        """(rows, channels) features, channel after channel in the bytes."""
        if codec == "float32":
            flat = [struct.unpack("<f", struct.pack("<I", p))[0] for p in self.patterns(rows, channels, 4)]
        elif codec == "float16":
            exponents = [self.take("h") for _ in range(channels)]
            halves = [struct.unpack("<e", struct.pack("<H", p))[0] for p in self.patterns(rows, channels, 2)]
            flat = [half * 2.0 ** exponents[i // rows] for i, half in enumerate(halves)]
        else:
            count = 256 if codec == "int8" else 16
            parameters = [self.take("ffB") for _ in range(channels)]
            levels = self.levels(codec, rows * channels)
            flat = [self.level_value(q, count, *parameters[i // rows]) for i, q in enumerate(levels)]
        return np.array(flat, f32).reshape(channels, rows).T

    def levels(self, codec: str, total: int) -> list[int]:
        if codec == "int8":
            return self.patterns(total, 1, 1)
        mask = self.take(f"{(total + 7) // 8}s")
        used = [bool(mask[i // 8] >> (i % 8) & 1) for i in range(total)]
        raw = self.take(f"{(sum(used) + 1) // 2}s")
        values = iter([raw[i // 2] >> (4 * (i % 2)) & 15 for i in range(sum(used))])
        return [next(values) if is_used else 0 for is_used in used]

    @staticmethod
    def level_value(stored: int, count: int, offset: float, step: float, zero: int) -> np.float32:
        level = (stored + zero) % count
        return f32(f32(offset) + f32(f32(level - zero) * f32(step)))


def read_plainly(payload: bytes) -> dict[str, Any]:
    reader = PlainReader(payload)
    magic, version, header_bytes = reader.take("4sHH")
    codec, backbone, *shape = reader.take("16s32s3I")
    cells, channels, flags, width, layer_bytes, count, count_channels, frame_bytes, body_bytes = reader.take(
        "IIBBHIIQQ"
    )
    layer = reader.take(f"{layer_bytes}s").decode()
    guard_bytes = header_bytes - 4 - reader.at
    assert (guard_bytes > 0) == bool(flags & 2)
    guard = reader.take(f"{guard_bytes}s").decode()
    assert reader.take("I") == zlib.crc32(payload[: header_bytes - 4])
    assert (magic, version, reader.at, header_bytes + frame_bytes) == (b"UPSF", 1, header_bytes, len(payload))
    body = PlainReader(zstandard.ZstdDecompressor().decompress(payload[header_bytes:]))
    assert len(body.data) == body_bytes
    coords, key = [], -1
    for step in body.planes(cells, width):
        key += step + 1
        coords.append((key // (shape[1] * shape[2]), key // shape[2] % shape[1], key % shape[2]))
    name = codec.rstrip(b"\0").decode()
    found = {"codec": name, "split_layer": layer, "backbone_hash": backbone.hex(), "grid_shape": shape}
    if guard:
        found["guard"] = guard
    found["coords"] = np.array(coords, np.int32).reshape(-1, 3)
    found["features"] = body.block(name, cells, channels)
    if flags & 1:
        numbers = [struct.unpack("<f", struct.pack("<I", p))[0] for p in body.planes(count * 3, 4)]
        found["positions"] = np.array(numbers, f32).reshape(-1, 3)
        found["keypoint_features"] = body.block(name, count, count_channels)
    assert body.at == len(body.data)
    return found


def decode_flat(payload: bytes) -> dict[str, Any]:
    scene = codecs.decode(payload)
    found = {
        "codec": codecs.read_header(payload).codec,
        "split_layer": scene.split_layer,
        "backbone_hash": scene.backbone_hash,
        "grid_shape": list(scene.grid.shape),
        "coords": scene.grid.coords.numpy(),
        "features": scene.grid.features.numpy(),
    }
    if scene.guard:
        found["guard"] = scene.guard
    if scene.keypoints is not None:
        found["positions"] = scene.keypoints.positions.numpy()
        found["keypoint_features"] = scene.keypoints.features.numpy()
    return found


def assert_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert set(found) == set(expected)
    for key, value in expected.items():
        if isinstance(value, np.ndarray):
            assert found[key].dtype == value.dtype, key
            assert found[key].shape == value.shape, key
            assert np.ascontiguousarray(found[key]).tobytes() == np.ascontiguousarray(value).tobytes(), key
        else:
            assert found[key] == value, key


def golden_scene() -> SceneFeatures:
    """Zeros as behind a ReLU, a channel of both signs, one far from zero, one constant, one of tiny numbers."""
    generator = torch.Generator().manual_seed(11)
    features = torch.randn(37, 6, generator=generator).relu()
    features[:, 1] = torch.randn(37, generator=generator)
    features[:, 2] = 100 + torch.rand(37, generator=generator)
    features[:, 3] = -2.5
    features[:, 4] *= 1e-41
    features[0, 1] = -0.0
    keys = torch.randperm(40_000, generator=generator)[:37].sort().values
    coords = torch.stack([keys // 20_000, keys // 200 % 100, keys % 200], 1).int()
    points = SetFeatures(
        positions=torch.randn(5, 3, generator=generator) * 20, features=torch.rand(5, 3, generator=generator)
    )
    grid = GridFeatures(coords=coords, features=features, shape=(2, 100, 200))
    return SceneFeatures(grid=grid, keypoints=points, split_layer="conv_out", backbone_hash="c0ffee" + "12" * 29)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("has_keypoints", [True, False])
def test_a_plain_reader_agrees_bit_for_bit(name: str, has_keypoints: bool) -> None:
    scene = golden_scene()
    if not has_keypoints:
        scene = SceneFeatures(grid=scene.grid, split_layer=scene.split_layer, backbone_hash=scene.backbone_hash)
    payload = codecs.encode(scene, name)
    assert_same(decode_flat(payload), read_plainly(payload))


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.upsf")), ids=lambda path: path.stem)
def test_golden_payloads_decode_as_on_the_first_day(path: Path) -> None:
    with np.load(path.with_suffix(".npz")) as stored:
        expected: dict[str, Any] = {key: stored[key] for key in stored.files if key != "header"}
        expected |= json.loads(str(stored["header"]))
    found = decode_flat(path.read_bytes())
    assert_same(found, expected)


def test_there_is_a_golden_payload_of_version_1_for_each_first_codec() -> None:
    stems = {path.stem for path in GOLDEN.glob("*.upsf")}
    assert stems == {f"v1_{name}" for name in ("float32", "float16", "int8", "int4")}


def edited(payload: bytes, at: int, form: str, *values: Any) -> bytes:
    """The payload with a header field replaced and the header's checksum made right."""
    size = struct.unpack_from("<H", payload, 6)[0]
    head = bytearray(payload[: size - 4])
    struct.pack_into("<" + form, head, at, *values)
    return bytes(head) + struct.pack("<I", zlib.crc32(head)) + payload[size:]


def test_errors_say_what_is_wrong() -> None:
    payload = codecs.encode(golden_scene(), "int8")
    flipped = bytearray(payload)
    flipped[60] ^= 1
    cases = [
        (b"", PayloadError, "at least 8 bytes"),
        (b"PK\3\4" + payload[4:], PayloadError, "magic"),
        (edited(payload, 4, "H", 2), VersionError, "reads format version 1, got version 2"),
        (bytes(flipped), PayloadError, "CRC-32"),
        (payload[:-1], PayloadError, "declared"),
        (payload + b"x", PayloadError, "declared"),
        (edited(payload, 8, "16s", b"zip9"), CodecRefusedError, "'zip9'.*float16, float32, int4, int8"),
        (edited(payload, 8, "16s", b"ZIP"), PayloadError, "codec name"),
        (edited(payload, 68, "I", 40_001), PayloadError, "40001 cells do not fit into a map of 40000"),
        (edited(payload, 56, "I", 2**20), PayloadTooLargeError, "map"),
        (edited(payload, 56, "I", 0), PayloadError, "no cells"),
        (edited(payload, 72, "I", 4097), PayloadTooLargeError, "4097 channels"),
        (edited(payload, 96, "Q", 2**28 + 1), PayloadTooLargeError, "bytes of body"),
        (edited(payload, 96, "Q", 2**28), PayloadError, "its shapes need at most"),
        (edited(payload, 76, "B", 2), PayloadError, "flags 2"),
        (edited(payload, 76, "B", 0), PayloadError, "flags 0 with 5 x 3 keypoint features"),
        (edited(payload, 77, "B", 3), PayloadError, "1, 2 or 4 bytes"),
        (edited(payload, 104, "B", 0xFF), PayloadError, "UTF-8"),
        (edited(payload, 104, "B", 0x2F), PayloadError, "split_layer"),
    ]
    for damaged, error, message in cases:
        with pytest.raises(error, match=message):
            codecs.decode(damaged)


def test_the_guard_stands_behind_the_split_layer_and_changes_nothing_else() -> None:
    plain = golden_scene()
    guarded = dataclasses.replace(plain, guard="noise,epsilon=2.0+snap – 5 cm")
    payload, before = codecs.encode(guarded, "int8"), codecs.encode(plain, "int8")
    assert_same(decode_flat(payload), read_plainly(payload))
    assert codecs.decode(payload).guard == codecs.read_header(payload).guard == guarded.guard
    assert codecs.read_header(before).guard == ""
    added = len(guarded.guard.encode())
    assert len(payload) == len(before) + added
    assert payload[104 + 8 : 104 + 8 + added].decode() == guarded.guard  # behind "conv_out"
    assert payload[-200:] == before[-200:]


@pytest.mark.parametrize(
    ("flags", "guard", "message"),
    [
        (1, "noise", "present"),
        (3, "", "guard"),
        (7, "noise", "flags 7"),
        (3, "no/ise", "guard"),
        (3, "x" * 401, "guard"),
    ],
)
def test_guards_that_are_not_as_declared_are_refused(flags: int, guard: str, message: str) -> None:
    payload = codecs.encode(dataclasses.replace(golden_scene(), guard="g"), "int8")
    size = struct.unpack_from("<H", payload, 6)[0]
    head = bytearray(payload[: size - 5]) + guard.encode()
    struct.pack_into("<H", head, 6, len(head) + 4)
    head[76] = flags
    with pytest.raises(PayloadError, match=message):
        codecs.decode(bytes(head) + struct.pack("<I", zlib.crc32(head)) + payload[size:])
