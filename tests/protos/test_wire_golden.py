"""Messages as builds have sent them: what an older build wrote is read, and what this one writes stays as it is."""

from __future__ import annotations

import pytest
from google.protobuf.message import Message

from protos import convert
from protos.v1 import ingest_pb2 as pb
from tests.loopback import make_scene

SCENE = make_scene(1, size=8)
# Written by the build before BeginScene.data, Chunk.is_last and Welcome.takes_data_in_begin.
OLD = {
    "begin": (
        "0a2036b6a1654ec11ebebc3b0361f86d74656b057dc0c0f32d4dc0dca8ab37e5049a12680a056361722d3112063030303030"
        "3118e9072204696e74382a08636f6e765f6f75743220abababababababababababababababababababababababababababab"
        "abababab3a20dcac46ca6280c31a162e618939828fcfa00e84ab6779d609be47b4043e55193e4008"
    ),
    "chunk": "0a2036b6a1654ec11ebebc3b0361f86d74656b057dc0c0f32d4dc0dca8ab37e5049a1a0842622db2735dd7d525bbcda8e6",
    "welcome": "08011880808004221375706379636c652d666c65657420302e312e30",
}
NEW = {
    "begin with all": (
        "0a2036b6a1654ec11ebebc3b0361f86d74656b057dc0c0f32d4dc0dca8ab37e5049a12680a056361722d3112063030303030"
        "3118e9072204696e74382a08636f6e765f6f75743220abababababababababababababababababababababababababababab"
        "abababab3a20dcac46ca6280c31a162e618939828fcfa00e84ab6779d609be47b4043e55193e40081a0842622db2735dd7d5"
    ),
    "begin with a part": (
        "0a2036b6a1654ec11ebebc3b0361f86d74656b057dc0c0f32d4dc0dca8ab37e5049a12680a056361722d3112063030303030"
        "3118e9072204696e74382a08636f6e765f6f75743220abababababababababababababababababababababababababababab"
        "abababab3a20dcac46ca6280c31a162e618939828fcfa00e84ab6779d609be47b4043e55193e40081a0542622db27325b3fa"
        "545a"
    ),
    "last chunk": "0a2036b6a1654ec11ebebc3b0361f86d74656b057dc0c0f32d4dc0dca8ab37e5049a10051a035dd7d5257211e5a32801",
    "welcome": "080118808080042801",
}


def test_an_older_begin_is_read() -> None:
    message = pb.BeginScene.FromString(bytes.fromhex(OLD["begin"]))
    assert convert.begin_from_message(message) == SCENE.manifest
    convert.check_begin_data(message, message.data, 4096)
    assert message.data == b""


def test_an_older_chunk_is_read_and_is_not_the_last() -> None:
    message = pb.Chunk.FromString(bytes.fromhex(OLD["chunk"]))
    assert (convert.chunk_data(message, 4096), message.is_last) == (SCENE.payload, False)


def test_an_older_server_takes_no_data_in_begin() -> None:
    message = pb.Welcome.FromString(bytes.fromhex(OLD["welcome"]))
    assert (message.protocol_version, message.credit_bytes, message.takes_data_in_begin) == (1, 8 << 20, False)


def test_a_begin_without_data_is_what_it_was() -> None:
    assert convert.begin_to_message(SCENE.manifest).SerializeToString(deterministic=True).hex() == OLD["begin"]
    (chunk,) = convert.chunks_of(SCENE, 4096)
    assert chunk.SerializeToString(deterministic=True).hex() == OLD["chunk"]


@pytest.mark.parametrize("name", NEW)
def test_what_this_build_writes(name: str) -> None:
    made: dict[str, Message] = {
        "begin with all": convert.begin_to_message(SCENE.manifest, data=SCENE.payload),
        "begin with a part": convert.begin_to_message(SCENE.manifest, data=SCENE.payload[:5]),
        "last chunk": list(convert.chunks_of(SCENE, 5, is_last_told=True))[-1],
        "welcome": pb.Welcome(protocol_version=1, credit_bytes=8 << 20, takes_data_in_begin=True),
    }
    assert made[name].SerializeToString(deterministic=True).hex() == NEW[name]


def test_an_older_build_reads_what_it_knows_of_a_begin_with_data() -> None:
    """It takes the rest for fields of the future: the manifest is there, and it asks for the payload from byte 0 on."""
    whole, known = bytes.fromhex(NEW["begin with all"]), bytes.fromhex(OLD["begin"])
    assert whole.startswith(known)
    assert whole[len(known) :] == b"\x1a\x08" + SCENE.payload  # field 3, as bytes
