"""The gRPC server: its port, its services, its health, and how it starts and stops."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer

from protos.policy import MAX_MESSAGE_BYTES
from protos.v1 import delivery_pb2, delivery_pb2_grpc, ingest_pb2, ingest_pb2_grpc
from server.ingest.delivery import DeliveryService
from server.ingest.intake import Intake
from server.ingest.interceptor import AccessInterceptor
from server.ingest.limits import LimitsConfig
from server.ingest.service import IngestService
from server.ingest.tls import TlsFolder
from shared_models.errors import ConfigError

logger = logging.getLogger(__name__)

_SERVICES = (
    "",
    ingest_pb2.DESCRIPTOR.services_by_name["Ingest"].full_name,
    delivery_pb2.DESCRIPTOR.services_by_name["Delivery"].full_name,
)
_INGEST = _SERVICES[:2]  # what does not work without disk and catalogue
_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.so_reuseport", 0),  # a second server on the same port must fail, not share it
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """Where the server listens.

    host: name or address; other than loopback only with TLS, or with `is_public_allowed`.
    port: 0 takes a free one.
    is_encrypted: both sides prove who they are (`server.ingest.tls`).
    """

    host: str = "127.0.0.1"
    port: int = 0
    is_public_allowed: bool = False
    is_encrypted: bool = False

    def __post_init__(self) -> None:
        if self.is_encrypted and self.is_public_allowed:
            raise ConfigError("--tls and --insecure-public: give one of them, with TLS nothing is insecure")
        if not (self.is_loopback or self.is_encrypted or self.is_public_allowed):
            raise ConfigError(
                f"host {self.host}: without --tls connections are not encrypted and vehicles not authenticated, so "
                "only loopback (127.0.0.1, ::1, localhost) is served; --insecure-public serves others all the same"
            )
        if not 0 <= self.port < 65536:
            raise ConfigError(f"port: expected 0 to 65535, got {self.port}")

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def address(self) -> str:
        """HOST:PORT as gRPC writes it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class IngestServer:
    """A server of one intake; made, started and stopped inside one event loop."""

    def __init__(
        self,
        intake: Intake,
        listen: Listen | None = None,
        model_directory: Path | None = None,
        tls: TlsFolder | None = None,
    ) -> None:
        """Without `tls` nothing is encrypted and nobody is asked who it is."""
        self._intake, self._listen, self._tls = intake, listen or Listen(is_encrypted=tls is not None), tls
        limits, count = intake.config.limits, intake.metrics.count_access
        self._server = grpc.aio.server(
            options=_OPTIONS + _connection_options(limits),
            interceptors=[AccessInterceptor(tls, count)] if tls else [],
            maximum_concurrent_rpcs=limits.calls or None,
        )
        self._health = HealthServicer()
        self._ingest = IngestService(intake)
        self._background: list[asyncio.Task[None]] = []
        self._is_stopping = False
        ingest_pb2_grpc.add_IngestServicer_to_server(self._ingest, self._server)
        delivery = DeliveryService(intake.policy, model_directory, intake.calls)
        delivery_pb2_grpc.add_DeliveryServicer_to_server(delivery, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)

    async def start(self) -> int:
        """Listen; returns the port.

        Raises:
            ConfigError: the address cannot be bound.
        """
        try:
            if self._tls is None:
                port = self._server.add_insecure_port(self._listen.address)
            else:
                port = self._server.add_secure_port(self._listen.address, self._tls.credentials())
        except RuntimeError as error:
            raise ConfigError(
                f"cannot listen on {self._listen.address}: taken by another program, or no address of this machine"
            ) from error
        await self._server.start()
        for name in _SERVICES:
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        self._intake.metrics.is_serving.set(1)
        self._background = [
            asyncio.create_task(self._intake.sweep_regularly()),
            asyncio.create_task(self._ingest.streams.patrol_regularly()),
            asyncio.create_task(self._intake.watchdog.watch(self._intake.in_thread, self._show_health)),
        ]
        return port

    async def stop(self, grace_s: float | None = None) -> None:
        """Say NOT_SERVING, begin no scene any more, give open ones `grace_s` seconds, cut the rest.

        What came of scenes that are cut is kept: the vehicle goes on there when a server runs again.
        """
        self._is_stopping = True
        await self._health.enter_graceful_shutdown()
        self._intake.metrics.is_serving.set(0)
        self._intake.stop_taking()
        self._ingest.streams.drain()
        await self._server.stop(self._intake.config.shutdown_grace_s if grace_s is None else grace_s)
        await self._ingest.sessions_ended()
        for task in self._background:
            task.cancel()
        if self._background:
            await asyncio.wait(self._background)
        await asyncio.to_thread(self._intake.close)

    async def cut(self) -> None:
        """Let a `stop` that is under way wait for nobody any more."""
        await self._server.stop(0)

    async def _show_health(self, is_healthy: bool) -> None:
        if self._is_stopping:
            return
        status = health_pb2.HealthCheckResponse
        for name in _INGEST:
            await self._health.set(name, status.SERVING if is_healthy else status.NOT_SERVING)
        self._intake.metrics.is_serving.set(is_healthy)


async def serve_until_signalled(server: IngestServer, on_ready: Callable[[int], None]) -> None:
    """Run `server` until SIGTERM or SIGINT; `on_ready` gets the port once it listens. A second signal cuts it short."""
    stopping, cutting = asyncio.Event(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(
            number, lambda: (cutting if stopping.is_set() else stopping).set()
        )
    on_ready(await server.start())
    await stopping.wait()
    logger.info("stopping")
    stopped, cut = asyncio.create_task(server.stop()), asyncio.create_task(cutting.wait())
    await asyncio.wait([stopped, cut], return_when=asyncio.FIRST_COMPLETED)
    if cutting.is_set():
        logger.warning("a second signal: streams are cut")
        await server.cut()
    cut.cancel()
    await stopped


def _connection_options(limits: LimitsConfig) -> tuple[tuple[str, int], ...]:
    options = []
    if limits.calls_per_connection:
        options.append(("grpc.max_concurrent_streams", limits.calls_per_connection))
    if limits.connection_idle_s:
        options.append(("grpc.max_connection_idle_ms", round(limits.connection_idle_s * 1000)))
    return tuple(options)
