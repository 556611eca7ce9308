"""A real server on a loopback port in a thread, and small scenes to send to it."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc

from protos.policy import Limits, Policy, VehicleIdentity
from protos.v1 import delivery_pb2_grpc, ingest_pb2_grpc
from server.ingest.config import IngestConfig
from server.ingest.intake import Intake
from server.ingest.server import IngestServer, Listen
from server.ingest.tls import TlsFolder
from server.repositories.archive import SceneArchive, open_archive
from server.repositories.pseudonym import Pseudonyms
from shared_models.records import EncodedScene, SceneManifest
from vehicle_client.outbox import Outbox

BACKBONE, OTHER_BACKBONE = "ab" * 32, "cd" * 32


def make_policy(**changed: Any) -> Policy:
    """A policy with one backbone and small limits."""
    limits = Limits(max_payload_bytes=1 << 20, max_chunk_bytes=4096)
    given = {"backbone_hashes": frozenset({BACKBONE}), "codecs": frozenset({"int8", "float32"}), "limits": limits}
    return Policy(**{**given, **changed})


def make_scene(number: int = 0, size: int = 10_000, vehicle: str = "car-1", **changed: Any) -> EncodedScene:
    """A scene whose payload is noise; the same arguments give the same scene."""
    seed = hashlib.sha256(f"{vehicle} {number}".encode()).digest()
    payload = hashlib.shake_256(seed).digest(size)
    given = {
        "vehicle_id": vehicle,
        "frame_id": f"{number:06d}",
        "timestamp_ns": 1_000 + number,
        "codec": "int8",
        "split_layer": "conv_out",
        "backbone_hash": BACKBONE,
        "payload_sha256": hashlib.sha256(payload).hexdigest(),
        "payload_bytes": size,
    }
    return EncodedScene(manifest=SceneManifest(**{**given, **changed}), payload=payload)


def make_identity(vehicle: str = "car-1", **changed: Any) -> VehicleIdentity:
    """Who sends the scenes of `make_scene`."""
    return VehicleIdentity(**{"vehicle_id": vehicle, "backbone_hash": BACKBONE, "codecs": ("int8",), **changed})


def accept_any_payload(manifest: SceneManifest, payload: bytes) -> None:
    """For payloads that are noise."""


def fill(outbox: Outbox, count: int, **changed: Any) -> list[str]:
    """Put so many scenes into an outbox; their ids."""
    scenes = [make_scene(number, **changed) for number in range(count)]
    for scene in scenes:
        outbox.put(scene)
    return [scene.manifest.scene_id for scene in scenes]


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Hours:
    """A clock that only moves when somebody waits."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.waits_s: list[float] = []

    def clock_s(self) -> float:
        return self.now_s

    def wait(self, _: threading.Event, delay_s: float) -> None:
        self.waits_s.append(delay_s)
        self.now_s += delay_s


class LoopbackServer:
    """Starts on entering, stops on leaving; `kill` cuts every connection at once."""

    def __init__(
        self,
        data: Path,
        policy: Policy | None = None,
        check_payload: Callable[[SceneManifest, bytes], None] = accept_any_payload,
        port: int = 0,
        model: Path | None = None,
        config: IngestConfig | None = None,
        change: Callable[[SceneArchive], SceneArchive] = lambda archive: archive,
        tls: TlsFolder | None = None,
        pseudonyms: Pseudonyms | None = None,
    ) -> None:
        self._tls, self._pseudonyms = tls, pseudonyms
        self.archive = change(open_archive(data, is_new_allowed=True))
        self._policy, self._check, self._config = policy or make_policy(), check_payload, config
        self._loop, self._model, self.port = asyncio.new_event_loop(), model, port
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._channels: list[grpc.Channel] = []
        self.is_running = False

    def __enter__(self) -> LoopbackServer:
        self._thread.start()
        try:
            self._wait(self._start())
        except BaseException:
            self._end()
            raise
        self.is_running = True
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"

    def kill(self) -> None:
        """Stop without waiting for anybody."""
        self.stop(grace_s=0)

    def stop(self, grace_s: float = 2.0) -> None:
        if not self.is_running:
            return
        self.is_running = False
        for channel in self._channels:
            channel.close()
        self._wait(self._server.stop(grace_s))
        self._end()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self.archive.close()

    def ingest(self) -> ingest_pb2_grpc.IngestStub:
        return ingest_pb2_grpc.IngestStub(self._channel())

    def delivery(self) -> delivery_pb2_grpc.DeliveryStub:
        return delivery_pb2_grpc.DeliveryStub(self._channel())

    def channel(self) -> grpc.Channel:
        return self._channel()

    def _channel(self) -> grpc.Channel:
        channel = grpc.insecure_channel(self.target, options=[("grpc.use_local_subchannel_pool", 1)])
        self._channels.append(channel)
        return channel

    async def _start(self) -> None:
        self.intake = Intake(
            self._policy,
            self.archive.store,
            self.archive.catalogue,
            self._config,
            check_payload=self._check,
            pseudonyms=self._pseudonyms,
        )
        listen = Listen(port=self.port, is_encrypted=self._tls is not None)
        self._server = IngestServer(self.intake, listen, self._model, self._tls)
        self.port = await self._server.start()

    def _wait(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)
