"""What a vehicle might say on a stream: sensible sequences of messages, and sequences that make no sense in one way.

Field by field lies are told here, with all checksums put right afterwards, so that they come further than bit flips do.
"""

from __future__ import annotations

import hashlib
import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.faults.payloads import Payloads
from protos import convert
from protos.policy import VehicleIdentity
from protos.v1 import delivery_pb2, ingest_pb2
from shared_models.errors import ProtocolError
from shared_models.records import EncodedScene, SceneManifest

_NAMES = ("", "a/b", "..", "\u202e", "x" * 201, "\x00", "e\u0301", "a" * 100_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Speaker:
    """Makes messages about scenes of `payloads`, in chunks of `chunk_bytes`."""

    payloads: Payloads
    chunk_bytes: int
    vehicle_id: str

    def hello(self, rng: random.Random) -> ingest_pb2.Hello:
        """A hello that is accepted."""
        backbone_hash = self.payloads.about["backbone_hash"]
        return convert.hello_to_message(VehicleIdentity(vehicle_id=self.vehicle_id, backbone_hash=backbone_hash))

    def spoiled_hello(self, rng: random.Random) -> ingest_pb2.Hello:
        """One that is not, most often."""
        hello = self.hello(rng)
        match rng.randrange(6):
            case 0:
                hello.backbone_hash = rng.randbytes(rng.choice((0, 31, 32, 33, 10_000)))
            case 1:
                del hello.protocol_versions[:]
                hello.protocol_versions.extend(rng.sample(range(2, 1000), rng.choice((0, 1, 64, 500))))
            case 2:
                del hello.codecs[:]
                hello.codecs.extend(rng.choice(_NAMES)[:300] for _ in range(rng.choice((0, 1, 70))))
            case 3:
                hello.vehicle_id = rng.choice(_NAMES)
            case 4:
                hello.split_layer = rng.choice(_NAMES)
            case _:
                hello.client_version = "v" * rng.choice((0, 300, 1_000_000))
        return hello

    def scene(self, rng: random.Random) -> EncodedScene:
        """One of a thousand sound scenes, so that some are stored already."""
        return self.payloads.scene(rng.randrange(1000), self.vehicle_id)

    def query(self, rng: random.Random) -> ingest_pb2.SceneStatusRequest:
        """A status query, sound or not."""
        ids = [bytes.fromhex(self.scene(rng).manifest.scene_id) for _ in range(rng.choice((0, 1, 5, 1000, 1001)))]
        if rng.random() < 0.3:
            ids.append(rng.randbytes(rng.choice((0, 31, 33, 1000))))
        return ingest_pb2.SceneStatusRequest(vehicle_id=rng.choice((self.vehicle_id, *_NAMES)), scene_ids=ids)

    def model(self, rng: random.Random) -> delivery_pb2.GetModelRequest:
        """A request for a file of the model, most often one that is not there."""
        name = rng.choice(("", "model.safetensors", "manifest.json", "../catalogue.sqlite", "/etc/passwd", *_NAMES))
        return delivery_pb2.GetModelRequest(
            vehicle_id=rng.choice((self.vehicle_id, *_NAMES)),
            file_name=name,
            offset=rng.choice((0, 1, 2**40, 2**64 - 1)),
        )

    def upload(self, rng: random.Random) -> list[ingest_pb2.UploadRequest]:
        """A stream's messages: hello, and some scenes, told soundly or with a lie in each."""
        hello = self.hello(rng) if rng.random() < 0.95 else self.spoiled_hello(rng)
        messages = [ingest_pb2.UploadRequest(hello=hello)]
        for _ in range(rng.randint(1, 4)):
            messages += self._told(rng, self.scene(rng))
        if rng.random() < 0.15:
            rng.shuffle(messages)
        if rng.random() < 0.1:
            messages.insert(rng.randrange(len(messages) + 1), ingest_pb2.UploadRequest(report=_report(rng)))
        return messages

    def _told(self, rng: random.Random, scene: EncodedScene) -> list[ingest_pb2.UploadRequest]:
        if rng.random() < 0.6:
            scene = rng.choice(_LIES_IN_SCENES)(rng, scene)
        ahead = rng.choice((0, 0, self.chunk_bytes, len(scene.payload), rng.randrange(2 * self.chunk_bytes)))
        begin = convert.begin_to_message(scene.manifest, data=scene.payload[:ahead])
        if rng.random() < 0.3:
            _lie_in_manifest(rng, begin)
        start = min(len(begin.data), rng.choice((len(begin.data), 0)))
        chunks = list(convert.chunks_of(scene, self.chunk_bytes, start, is_last_told=rng.random() < 0.3))
        if chunks and rng.random() < 0.4:
            rng.choice(_LIES_IN_CHUNKS)(rng, chunks)
        finish = ingest_pb2.FinishScene(scene_id=begin.scene_id)
        return [
            ingest_pb2.UploadRequest(begin=begin),
            *(ingest_pb2.UploadRequest(chunk=chunk) for chunk in chunks),
            *([ingest_pb2.UploadRequest(finish=finish)] if rng.random() < 0.9 else []),
        ]


def _again(scene: EncodedScene, payload: bytes, **changed: Any) -> EncodedScene:
    """The scene with another payload, whose hash is put right."""
    manifest: SceneManifest = replace(
        scene.manifest, payload_sha256=hashlib.sha256(payload).hexdigest(), payload_bytes=len(payload), **changed
    )
    return EncodedScene(manifest=manifest, payload=payload)


def _spoiled_payload(rng: random.Random, scene: EncodedScene) -> EncodedScene:
    payload = bytearray(scene.payload)
    for _ in range(rng.choice((1, 3, 20))):
        payload[rng.randrange(min(len(payload), rng.choice((64, len(payload)))))] = rng.randrange(256)
    return _again(scene, bytes(payload), frame_id=f"spoiled {rng.randrange(10_000)}")


def _short_payload(rng: random.Random, scene: EncodedScene) -> EncodedScene:
    return _again(scene, scene.payload[: rng.randrange(200)], frame_id=f"short {rng.randrange(10_000)}")


def _other_header(rng: random.Random, scene: EncodedScene) -> EncodedScene:
    return _again(scene, scene.payload, codec=rng.choice(("float32", "int4", "zip")), split_layer="other")


_LIES_IN_SCENES: tuple[Callable[[random.Random, EncodedScene], EncodedScene], ...] = (
    _spoiled_payload,
    _short_payload,
    _other_header,
)


def _lie_in_manifest(rng: random.Random, begin: ingest_pb2.BeginScene) -> None:
    """One field is wrong; the scene's id follows from it where that can be, so that the lie is not seen by the id."""
    manifest = begin.manifest
    match rng.randrange(8):
        case 0:
            manifest.payload_bytes = rng.choice((0, 1, 2**31, 2**40, 2**63 - 1, 2**64 - 1))
        case 1:
            manifest.timestamp_ns = rng.choice((-1, -(2**63), 2**63 - 1))
        case 2:
            manifest.vehicle_id = rng.choice(_NAMES)
        case 3:
            manifest.frame_id = rng.choice(_NAMES)
        case 4:
            manifest.region = rng.choice(_NAMES)
        case 5:
            manifest.payload_sha256 = rng.randbytes(rng.choice((32, 31, 0)))
        case 6:
            begin.scene_id = rng.randbytes(rng.choice((32, 31, 0)))
        case _:
            manifest.backbone_hash = rng.randbytes(32)
    try:
        begin.scene_id = bytes.fromhex(convert.manifest_from_message(manifest).scene_id)
    except ProtocolError:
        return


def _spoil_crc(rng: random.Random, chunks: list[ingest_pb2.Chunk]) -> None:
    rng.choice(chunks).crc32 ^= 1 << rng.randrange(32)


def _spoil_data(rng: random.Random, chunks: list[ingest_pb2.Chunk]) -> None:
    """With its CRC put right: only the hash of the whole can tell."""
    chunk = rng.choice(chunks)
    chunk.data = rng.randbytes(len(chunk.data))
    chunk.crc32 = zlib.crc32(chunk.data)


def _move(rng: random.Random, chunks: list[ingest_pb2.Chunk]) -> None:
    rng.choice(chunks).offset = rng.choice((0, 1, 2**32, 2**63, 2**64 - 1))


def _resize(rng: random.Random, chunks: list[ingest_pb2.Chunk]) -> None:
    chunk = rng.choice(chunks)
    chunk.data = rng.randbytes(rng.choice((0, 1, len(chunk.data) + 1, 300_000)))
    chunk.crc32 = zlib.crc32(chunk.data)


def _shuffle(rng: random.Random, chunks: list[ingest_pb2.Chunk]) -> None:
    rng.shuffle(chunks)


def _lose(rng: random.Random, chunks: list[ingest_pb2.Chunk]) -> None:
    chunks.pop(rng.randrange(len(chunks)))


def _twice(rng: random.Random, chunks: list[ingest_pb2.Chunk]) -> None:
    chunks.append(rng.choice(chunks))


_LIES_IN_CHUNKS = (_spoil_crc, _spoil_data, _move, _resize, _shuffle, _lose, _twice)


def _report(rng: random.Random) -> ingest_pb2.VehicleReport:
    return ingest_pb2.VehicleReport(
        pending_scenes=rng.choice((0, 5, 2**63, 2**64 - 1)), evicted_bytes=rng.choice((0, 2**40, 2**64 - 1))
    )
