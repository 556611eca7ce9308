"""Vehicles that cost little: messages straight to gRPC, payloads whose hashes are known beforehand."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import torch

from protos import convert
from protos.policy import ServerTerms, VehicleIdentity
from protos.v1 import ingest_pb2 as pb
from protos.v1 import ingest_pb2_grpc
from shared_models import codecs
from shared_models.errors import InvalidValueError
from shared_models.records import GridFeatures, SceneFeatures, SceneManifest

BACKBONE = "ab" * 32
CODEC, SPLIT_LAYER = "float32", "conv_out"
_COUNTER_BYTES = 8
_CELL_BYTES = 237  # about so many are left of a cell's 64 numbers of noise, and its place
_CELLS_A_SIDE = 100
_CHANNEL_OPTIONS = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0))
_ANSWER_TIMEOUT_S = 60.0
_END: Any = vars(grpc.aio)["EOF"]  # not in its stubs


class ScenePool:
    """`distinct` payloads of about `scene_bytes` with a true header; a counter at the end makes each another.

    The body cannot be decoded, which servers do not do when they take a scene in.
    """

    def __init__(self, scene_bytes: int, distinct: int, seed: int) -> None:
        """Raises:
        InvalidValueError: a size that cannot be made.
        """
        cells = round(scene_bytes / _CELL_BYTES)
        if not 1 <= cells <= _CELLS_A_SIDE**2 or distinct < 1:
            most = _CELL_BYTES * _CELLS_A_SIDE**2
            raise InvalidValueError(f"ScenePool: expected {_CELL_BYTES} to {most} bytes a scene, got {scene_bytes}")
        whole = _payload(cells, seed)
        filled = whole[:-_COUNTER_BYTES]
        self._body, self.scene_bytes, self.backbone_hash = filled, len(whole), BACKBONE
        started_hash, started_crc = hashlib.sha256(filled), zlib.crc32(filled)
        self._known = []
        for number in range(distinct):
            digest, tail = started_hash.copy(), number.to_bytes(_COUNTER_BYTES, "big")
            digest.update(tail)
            self._known.append((tail, digest.hexdigest(), zlib.crc32(tail, started_crc)))
        self._numbers = itertools.count()

    def __len__(self) -> int:
        return len(self._known)

    def next(self, vehicle_id: str) -> tuple[SceneManifest, bytes, int]:
        """The next scene of all: manifest, payload and the payload's CRC-32. No two have the same id."""
        number = next(self._numbers)
        tail, sha256, crc32 = self._known[number % len(self._known)]
        manifest = SceneManifest(
            vehicle_id=vehicle_id,
            frame_id=f"{number:09d}",
            timestamp_ns=number + 1,
            codec=CODEC,
            split_layer=SPLIT_LAYER,
            backbone_hash=BACKBONE,
            payload_sha256=sha256,
            payload_bytes=self.scene_bytes,
        )
        return manifest, self._body + tail, crc32


class RawVehicle:
    """One vehicle with a connection of its own; one scene at a time."""

    def __init__(self, target: str, pool: ScenePool, vehicle_id: str) -> None:
        self._channel: Any = grpc.aio.insecure_channel(target, options=_CHANNEL_OPTIONS)
        self._pool, self._vehicle_id = pool, vehicle_id

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close()

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        """A stream that has been welcomed; ended, not cut, on leaving."""
        stub: Any = ingest_pb2_grpc.IngestStub(self._channel)  # type: ignore[no-untyped-call]
        call = stub.Upload()
        identity = VehicleIdentity(vehicle_id=self._vehicle_id, backbone_hash=BACKBONE)
        await call.write(pb.UploadRequest(hello=convert.hello_to_message(identity)))
        terms = convert.welcome_from_message((await call.read()).welcome)
        yield Session(call, self._pool, self._vehicle_id, terms)
        await call.done_writing()
        while await call.read() is not _END:
            pass


class Session:
    """A stream after its welcome."""

    def __init__(self, call: Any, pool: ScenePool, vehicle_id: str, terms: ServerTerms) -> None:
        self._call, self._pool, self._vehicle_id = call, pool, vehicle_id
        self._chunk_bytes, self._may_send_ahead = terms.policy.limits.max_chunk_bytes, terms.takes_data_in_begin

    async def send_scene(self) -> bool:
        """Send one; whether it is stored."""
        manifest, payload, crc32 = self._pool.next(self._vehicle_id)
        is_ahead = self._may_send_ahead and len(payload) <= self._chunk_bytes
        begin = convert.begin_to_message(manifest, data=payload if is_ahead else b"")
        await self._call.write(pb.UploadRequest(begin=begin))
        answer = await self._answer()
        if answer.WhichOneof("answer") != "send_from":
            return bool(answer.HasField("stored"))
        for start in range(answer.send_from.offset, len(payload), self._chunk_bytes):
            data = payload[start : start + self._chunk_bytes]
            known = crc32 if len(data) == len(payload) else zlib.crc32(data)
            chunk = pb.Chunk(scene_id=begin.scene_id, offset=start, data=data, crc32=known)
            await self._call.write(pb.UploadRequest(chunk=chunk))
        await self._call.write(pb.UploadRequest(finish=pb.FinishScene(scene_id=begin.scene_id)))
        return bool((await self._answer()).HasField("stored"))

    async def _answer(self) -> pb.SceneAnswer:
        """The next answer about a scene; credit is far more than one scene needs."""
        async with asyncio.timeout(_ANSWER_TIMEOUT_S):
            while True:
                message = await self._call.read()
                if message is _END:
                    return pb.SceneAnswer()
                if message.WhichOneof("message") == "scene":
                    answer: pb.SceneAnswer = message.scene
                    return answer


def _payload(cells: int, seed: int) -> bytes:
    generator = torch.Generator().manual_seed(seed)
    number, side = torch.arange(cells), _CELLS_A_SIDE
    coords = torch.stack([torch.zeros(cells), number // side, number % side], dim=1).int()
    grid = GridFeatures(coords=coords, features=torch.randn(cells, 64, generator=generator), shape=(2, side, side))
    return codecs.encode(SceneFeatures(grid=grid, split_layer=SPLIT_LAYER, backbone_hash=BACKBONE), CODEC)
