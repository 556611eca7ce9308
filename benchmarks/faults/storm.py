"""One vehicle uploads to one server through the proxy while both and the link are interrupted as planned."""

from __future__ import annotations

import asyncio
import random
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.faults.actors import ServerArguments, VehicleArguments
from benchmarks.faults.killer import Actor, Nursery
from benchmarks.faults.payloads import Payloads
from benchmarks.faults.plan import Interruption, Kind, draw
from benchmarks.faults.proxy import Direction, FaultProxy, Link, LinkConfig
from shared_models.errors import InvalidValueError, OperatorError

VEHICLE_ID = "car-1"
_FATAL_WAIT_S = 120.0  # without the next bytes: something hangs


@dataclass(frozen=True, slots=True, kw_only=True)
class StormConfig:
    """What a run does.

    interruptions: how many. seed: of everything that is drawn.
    in_flight: scenes under way at once; with 1, what was sent twice can be told for each interruption.
    chunk_bytes: the server's limit, which is also the size that the vehicle uses.
    mean_bytes: sent between two interruptions on average; 0: half a payload.
    ahead: scenes that wait in the outbox at most.
    stall_s: silence that the vehicle takes for a broken connection.
    clock_jumps_s: at each start the server's clock is wrong by one of these.
    config: fields of the server's IngestConfig that differ.
    """

    interruptions: int = 200
    seed: int = 0
    in_flight: int = 1
    chunk_bytes: int = 4096
    mean_bytes: int = 0
    ahead: int = 8
    stall_s: float = 0.3
    clock_jumps_s: tuple[float, ...] = (0.0,)
    config: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        if self.interruptions < 0 or self.in_flight < 1 or self.chunk_bytes < 1 or self.ahead < 1:
            raise InvalidValueError(f"StormConfig: expected counts of at least 1, got {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class StormPaths:
    """Everything of a run below one folder."""

    folder: Path

    @property
    def data(self) -> Path:
        """The server's data."""
        return self.folder / "server"

    @property
    def spool(self) -> Path:
        """The vehicle's outbox."""
        return self.folder / "spool"

    @property
    def server_journal(self) -> Path:
        """What the servers did, one after the other."""
        return self.folder / "server.journal"

    @property
    def vehicle_journal(self) -> Path:
        """What the vehicles did."""
        return self.folder / "vehicle.journal"

    @property
    def log(self) -> Path:
        """What they printed."""
        return self.folder / "actors.log"


class Storm:
    """Runs once."""

    def __init__(
        self,
        config: StormConfig,
        folder: Path,
        payloads: Path,
        up: LinkConfig | None = None,
        down: LinkConfig | None = None,
        on_interruption: Callable[[], None] = lambda: None,
    ) -> None:
        """`payloads` is a folder of write_payloads; `up` and `down` are how bad the link is between interruptions."""
        folder.mkdir(parents=True, exist_ok=True)
        self.config, self.paths = config, StormPaths(folder=folder)
        self.done: Counter[str] = Counter()
        self.seconds = 0.0
        self.link_bytes = 0  # that went through the proxy towards servers
        self._payload_folder, self._payloads = payloads, Payloads(payloads)
        self._links, self._on_interruption = (up, down), on_interruption
        self._rng = random.Random(config.seed)
        self._server: Actor
        self._vehicle: Actor
        self._server_port = _free_port()

    async def run(self) -> None:
        """Until every interruption has happened and everything is sent.

        Raises:
            OperatorError: something ended or hung that should not have.
        """
        mean_bytes = self.config.mean_bytes or self._payloads.mean_bytes // 2
        started_s = time.monotonic()
        proxy = FaultProxy(self._server_port, *self._links, random.Random(self.config.seed))
        async with Nursery(self.paths.log) as self._nursery:
            self._proxy_port = await proxy.start()
            try:
                await self._start_server()
                await self._start_vehicle()
                for interruption in draw(self._rng, self.config.interruptions, mean_bytes):
                    await self._interrupt(proxy, interruption)
                    self._on_interruption()
                await self._finish()
            finally:
                self.link_bytes = proxy.passed_bytes[Direction.UP]
                await proxy.close()
        self.seconds = time.monotonic() - started_s

    async def _interrupt(self, proxy: FaultProxy, interruption: Interruption) -> None:
        struck: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def strike(link: Link) -> None:
            self._strike(interruption, link)
            struck.set_result(None)

        proxy.arm(interruption.direction, interruption.after_bytes, strike)
        ends: list[asyncio.Future[Any]] = [struck, self._vehicle.end, self._server.end]
        await asyncio.wait(ends, timeout=_FATAL_WAIT_S, return_when=asyncio.FIRST_COMPLETED)
        if not struck.done():
            proxy.disarm()
            raise OperatorError(
                f"after {self.done.total()} interruptions {self._what_is_wrong()}; see {self.paths.log}"
            )
        self.done[interruption.kind] += 1
        if interruption.kind in (Kind.KILL_SERVER, Kind.KILL_BOTH):
            await self._server.ended()
            await self._start_server()
        if interruption.kind in (Kind.KILL_VEHICLE, Kind.KILL_BOTH):
            await self._vehicle.ended()
            await self._start_vehicle()

    def _strike(self, interruption: Interruption, link: Link) -> None:
        match interruption.kind:
            case Kind.CUT:
                link.cut(interruption.is_reset)
            case Kind.HALF_OPEN:
                link.half_open()
            case Kind.KILL_SERVER:
                self._server.kill()
            case Kind.KILL_VEHICLE:
                self._vehicle.kill()
            case Kind.KILL_BOTH:
                self._server.kill()
                self._vehicle.kill()

    def _what_is_wrong(self) -> str:
        for name, actor in (("the vehicle", self._vehicle), ("the server", self._server)):
            if not actor.is_alive:
                return f"{name} ended by itself with status {actor.end.result()}"
        return f"nothing came for {_FATAL_WAIT_S:.0f} s"

    async def _finish(self) -> None:
        """The vehicle sends what it has; then both end in peace."""
        (self.paths.folder / "stop").touch()
        await asyncio.wait([self._vehicle.end, self._server.end], timeout=600, return_when=asyncio.FIRST_COMPLETED)
        if self._vehicle.is_alive or self._vehicle.end.result() != 0:
            raise OperatorError(f"while the rest was sent {self._what_is_wrong()}; see {self.paths.log}")
        self._server.signal(signal.SIGTERM)
        if await self._server.ended() != 0:
            raise OperatorError(f"the server ended with status {self._server.end.result()}; see {self.paths.log}")

    async def _start_server(self) -> None:
        config = self.config
        arguments = ServerArguments(
            data=str(self.paths.data),
            port=self._server_port,
            journal=str(self.paths.server_journal),
            backbone_hash=self._payloads.about["backbone_hash"],
            chunk_bytes=config.chunk_bytes,
            clock_ahead_s=self._rng.choice(config.clock_jumps_s),
            config=dict(config.config),
        )
        self._server = await self._nursery.start("server", asdict(arguments))

    async def _start_vehicle(self) -> None:
        arguments = VehicleArguments(
            spool=str(self.paths.spool),
            port=self._proxy_port,
            journal=str(self.paths.vehicle_journal),
            payloads=str(self._payload_folder),
            stop_file=str(self.paths.folder / "stop"),
            vehicle_id=VEHICLE_ID,
            in_flight=self.config.in_flight,
            ahead=self.config.ahead,
            stall_s=self.config.stall_s,
        )
        self._vehicle = await self._nursery.start("vehicle", asdict(arguments))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
