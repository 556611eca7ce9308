"""Damaged and hostile payloads: whatever comes in, only our own errors come out, and memory stays bounded.

    UPCYCLE_MUTATIONS_SEED=7 python -m pytest -s -m slow tests/shared_models/codecs/test_mutations.py

runs 100,000 mutations and prints the seed.
"""

from __future__ import annotations

import os
import random
import resource
import struct
import zlib
from collections import Counter
from collections.abc import Callable

import pytest
import torch
import zstandard

from shared_models import codecs
from shared_models.codec import DecodeLimits
from shared_models.errors import SenderError
from shared_models.records import GridFeatures, SceneFeatures, SetFeatures

LIMITS = DecodeLimits(max_decoded_bytes=4 * 2**20, max_payload_bytes=2**20)
SEED = int(os.environ.get("UPCYCLE_MUTATIONS_SEED", "20240601"))
BODY_BYTES_AT, FRAME_BYTES_AT, FIELDS_AT = 96, 88, 8
INTERESTING = (0, 1, 2, 3, 4, 5, 15, 16, 127, 128, 255, 256, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1)


def originals() -> list[bytes]:
    """Payloads of every codec, with and without keypoints, and an empty one."""
    generator = torch.Generator().manual_seed(0)
    keys = torch.randperm(2000, generator=generator)[:60].sort().values
    grid = GridFeatures(
        coords=torch.stack([keys // 1000, keys // 50 % 20, keys % 50], 1).int(),
        features=torch.randn(60, 8, generator=generator).relu(),
        shape=(2, 20, 50),
    )
    empty = GridFeatures(coords=grid.coords[:0], features=grid.features[:0], shape=grid.shape)
    points = SetFeatures(
        positions=torch.randn(12, 3, generator=generator), features=torch.randn(12, 5, generator=generator)
    )
    scenes = [
        SceneFeatures(grid=g, keypoints=k, split_layer="conv_out", backbone_hash="ab" * 32)
        for g, k in ((grid, None), (grid, points), (empty, None))
    ]
    return [codecs.encode(scene, name) for scene in scenes for name in sorted(codecs.CODECS)]


def sealed(head: bytes, frame: bytes) -> bytes:
    """A payload of a header without its checksum and of a frame, with the header's checksum made right."""
    return head + struct.pack("<I", zlib.crc32(head)) + frame


def parts(payload: bytes) -> tuple[bytearray, bytes]:
    """The header without its checksum, and the frame."""
    size = struct.unpack_from("<H", payload, 6)[0]
    return bytearray(payload[: size - 4]), payload[size:]


def with_body(payload: bytes, body: bytes, dice: random.Random) -> bytes:
    """`payload` with another body, all lengths and checksums made right."""
    head, _ = parts(payload)
    frame = zstandard.ZstdCompressor(level=dice.choice((1, 3)), write_checksum=True).compress(body)
    struct.pack_into("<QQ", head, FRAME_BYTES_AT, len(frame), len(body))
    return sealed(bytes(head), frame)


def flip_bits(payload: bytes, others: list[bytes], dice: random.Random) -> bytes:
    changed = bytearray(payload)
    for _ in range(dice.choice((1, 1, 2, 8))):
        changed[dice.randrange(len(changed))] ^= 1 << dice.randrange(8)
    return bytes(changed)


def truncate(payload: bytes, others: list[bytes], dice: random.Random) -> bytes:
    return payload[: dice.randrange(len(payload))]


def append(payload: bytes, others: list[bytes], dice: random.Random) -> bytes:
    return payload + dice.choice((dice.randbytes(dice.randint(1, 9)), dice.choice(others), parts(payload)[1]))


def splice(payload: bytes, others: list[bytes], dice: random.Random) -> bytes:
    other = dice.choice(others)
    return payload[: dice.randrange(len(payload))] + other[dice.randrange(len(other)) :]


def edit_header(payload: bytes, others: list[bytes], dice: random.Random) -> bytes:
    head, frame = parts(payload)
    for _ in range(dice.choice((1, 1, 2, 3))):
        at = dice.randrange(4, len(head))
        kind = dice.choice("BHI")
        value = dice.choice((dice.choice(INTERESTING), dice.getrandbits(32)))
        if at + struct.calcsize(kind) <= len(head):
            struct.pack_into("<" + kind, head, at, value % 256 ** struct.calcsize(kind))
    return sealed(bytes(head), frame)


def edit_shapes(payload: bytes, others: list[bytes], dice: random.Random) -> bytes:
    head, frame = parts(payload)
    at = dice.choice((56, 60, 64, 68, 72, 80, 84))
    value = struct.unpack_from("<I", head, at)[0] + dice.choice((-1, 1, 7, -7, 1000, 10**6))
    struct.pack_into("<I", head, at, value % 2**32)
    return sealed(bytes(head), frame)


def swap_codec(payload: bytes, others: list[bytes], dice: random.Random) -> bytes:
    head, frame = parts(payload)
    head[FIELDS_AT : FIELDS_AT + 16] = dice.choice((b"float32", b"float16", b"int8", b"int4", b"x")).ljust(16, b"\0")
    return sealed(bytes(head), frame)


def edit_body(payload: bytes, others: list[bytes], dice: random.Random) -> bytes:
    body = bytearray(zstandard.decompress(parts(payload)[1]))
    for _ in range(dice.choice((1, 1, 3, 10))):
        at = dice.randrange(len(body) + 1)
        match dice.randrange(4):
            case 0:
                body[at : at + 1] = bytes([dice.choice((0, 1, 127, 128, 255, dice.randrange(256)))])
            case 1:
                del body[at : at + dice.randint(1, 20)]
            case 2:
                body[at:at] = dice.randbytes(dice.randint(1, 20))
            case _:
                body[at : at + 4] = dice.choice((b"\xff" * 4, b"\0\0\x80\x7f", b"\0\0\xc0\xff", b"\0" * 4))
    return with_body(payload, bytes(body), dice)


def bomb(payload: bytes, others: list[bytes], dice: random.Random) -> bytes:
    head, _ = parts(payload)
    size = dice.choice((10**5, 10**6, 8 * 10**6))
    compressor = zstandard.ZstdCompressor(level=1, write_checksum=True, write_content_size=dice.random() < 0.8)
    frame = compressor.compress(bytes(size))
    if dice.random() < 0.2:
        frame = struct.pack("<II", 0x184D2A50, 100) + bytes(100)  # a frame that decoders skip
    honest = dice.random() < 0.5
    struct.pack_into("<QQ", head, FRAME_BYTES_AT, len(frame), size if honest else dice.choice((0, 100, 2**40)))
    if dice.random() < 0.5:
        struct.pack_into("<II", head, 68, 2000, dice.choice((8, 500, 4000)))
    return sealed(bytes(head), frame)


def lying_frame(payload: bytes, others: list[bytes], dice: random.Random) -> bytes:
    """A frame whose own header is damaged, under right outer checksums."""
    head, frame = parts(payload)
    changed = bytearray(frame)
    changed[dice.randrange(min(12, len(changed)))] = dice.randrange(256)
    return sealed(bytes(head), bytes(changed))


def garbage(payload: bytes, others: list[bytes], dice: random.Random) -> bytes:
    return dice.choice((b"", b"UPSF\1\0")) + dice.randbytes(dice.randrange(300))


MUTATIONS: tuple[Callable[[bytes, list[bytes], random.Random], bytes], ...] = (
    flip_bits,
    truncate,
    append,
    splice,
    edit_header,
    edit_shapes,
    swap_codec,
    edit_body,
    edit_body,
    edit_body,
    bomb,
    lying_frame,
    garbage,
)


def run(count: int) -> Counter[str]:
    """Decode `count` mutated payloads; anything but a valid scene or a `SenderError` fails with its recipe."""
    payloads, outcomes = originals(), Counter[str]()
    for number in range(count):
        dice = random.Random(f"{SEED}/{number}")
        mutation = dice.choice(MUTATIONS)
        payload = mutation(dice.choice(payloads), payloads, dice)
        try:
            scene = codecs.decode(payload, LIMITS)
        except SenderError as error:
            outcomes[type(error).__name__] += 1
            continue
        except BaseException as error:
            raise AssertionError(f"seed {SEED}, mutation {number} ({mutation.__name__}): {error!r}") from error
        outcomes["decoded"] += 1
        assert torch.isfinite(scene.grid.features).all(), f"seed {SEED}, mutation {number} ({mutation.__name__})"
    return outcomes


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def test_mutated_payloads_give_only_our_errors_and_bounded_memory() -> None:
    run(200)  # loads what is loaded once
    before = peak_bytes()
    outcomes = run(5_000)
    assert peak_bytes() - before < 48 * 2**20
    assert outcomes["PayloadError"] > 2_000
    assert outcomes["PayloadTooLargeError"] > 100
    assert outcomes["VersionError"] > 10
    assert outcomes["CodecRefusedError"] > 10
    assert outcomes["decoded"] > 100  # changed numbers inside a sound payload are no error


@pytest.mark.slow
def test_a_hundred_thousand_mutated_payloads() -> None:
    before = peak_bytes()
    outcomes = run(100_000)
    print(f"\nseed {SEED}: {dict(outcomes)}, peak memory grew by {(peak_bytes() - before) / 2**20:.0f} MiB")
    assert outcomes.total() == 100_000
