"""Spoiled messages: every way works on every message, follows from its seed, and knows protobuf's wire format."""

from __future__ import annotations

import random

import pytest
from google.protobuf.message import DecodeError

from benchmarks.faults.mutations import MUTATIONS, fields, mutate, varint
from protos.v1 import ingest_pb2 as pb

HELLO = pb.Hello(protocol_versions=[1, 300], vehicle_id="car-1", backbone_hash=b"\xab" * 32, codecs=["int8", "int4"])
CHUNK = pb.UploadRequest(chunk=pb.Chunk(scene_id=b"\x01" * 32, offset=2**40, data=b"data", crc32=7))
MESSAGES = [b"", b"\x00", b"\xff" * 30, HELLO.SerializeToString(), CHUNK.SerializeToString()]


@pytest.mark.parametrize("name", MUTATIONS)
def test_every_way_on_every_message(name: str) -> None:
    rng = random.Random(0)
    for message in MESSAGES * 50:
        assert isinstance(MUTATIONS[name](rng, message, MESSAGES), bytes)


def test_a_seed_gives_the_same_again() -> None:
    once, again = ([mutate(random.Random(seed), MESSAGES[3], MESSAGES) for seed in range(50)] for _ in range(2))
    assert once == again
    assert len(set(once)) > 40


@pytest.mark.parametrize(
    ("value", "expected"), [(0, b"\x00"), (1, b"\x01"), (300, b"\xac\x02"), (2**64 - 1, b"\xff" * 9 + b"\x01")]
)
def test_varint(value: int, expected: bytes) -> None:
    assert varint(value) == expected


def test_fields_take_a_message_apart() -> None:
    raw = HELLO.SerializeToString()
    found = fields(raw)
    assert b"".join(field.raw for field in found) == raw
    assert [field.raw[field.value_start :] for field in found][1:] == [b"car-1", b"\xab" * 32, b"int8", b"int4"]
    assert fields(raw[:-1])[-1].kind == -1


def test_a_message_in_another_order_means_the_same() -> None:
    """The lengths around it are put right."""
    spoiled = {MUTATIONS["reorder"](random.Random(seed), CHUNK.SerializeToString(), MESSAGES) for seed in range(50)}
    assert len(spoiled) > 5
    assert all(pb.UploadRequest.FromString(each) == CHUNK for each in spoiled)


def test_many_cannot_be_decoded() -> None:
    failed = 0
    for seed in range(300):
        try:
            pb.Hello.FromString(mutate(random.Random(seed), MESSAGES[3], MESSAGES)[1])
        except DecodeError:
            failed += 1
    assert 60 < failed < 240
