"""A TCP proxy on loopback that breaks what goes through it, at chosen bytes or at random.

    proxy = FaultProxy(server_port, up=LinkConfig(delay_s=0.05, bandwidth_bytes_per_s=1e6))
    port = await proxy.start()                                   # vehicles connect here
    proxy.arm(Direction.UP, 10_000, lambda link: link.cut())     # after the next 10,000 bytes from vehicles
    ...
    await proxy.close()

It sees bytes, not packets. So a lost packet is what TCP makes of it: a pause of `stall_s` before anything else comes.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

from shared_models.errors import InvalidValueError

_BLOCK_BYTES = 16 << 10
_QUEUED_BLOCKS = 256  # under way on a link with a delay, each direction
_DEAD_LINKS = 4  # half-open connections that are held at most; then the oldest is cut


class Direction(StrEnum):
    """Which way bytes go."""

    UP = "up"  # from vehicle to server
    DOWN = "down"


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkConfig:
    """How one direction of every connection behaves.

    delay_s: seconds that each byte takes; jitter_s: up to so many more, drawn for each block; order is kept.
    bandwidth_bytes_per_s: 0: no limit.
    loss: chance that a block (at most 16 KiB) is held up for `stall_s`, as a lost packet is until TCP repeats it.
    reset: chance that the connection is reset before a block.
    """

    delay_s: float = 0.0
    jitter_s: float = 0.0
    bandwidth_bytes_per_s: float = 0.0
    loss: float = 0.0
    stall_s: float = 0.2
    reset: float = 0.0

    def __post_init__(self) -> None:
        if min(self.delay_s, self.jitter_s, self.bandwidth_bytes_per_s, self.stall_s) < 0:
            raise InvalidValueError(f"LinkConfig: expected times and bandwidth of 0 or more, got {self}")
        if not (0 <= self.loss <= 1 and 0 <= self.reset <= 1):
            raise InvalidValueError(f"LinkConfig: expected chances between 0 and 1, got {self}")


class Link:
    """One connection through the proxy: from the vehicle, and on to the server."""

    def __init__(self, vehicle: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.is_half_open = False
        self._writers = (vehicle, server)

    def cut(self, is_reset: bool = True) -> None:
        """End the connection on both sides at once, with RST or with FIN."""
        self.is_half_open = False
        for writer in self._writers:
            if is_reset:
                connected = writer.get_extra_info("socket")
                with suppress(OSError):  # gone already
                    connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                _abort(writer)
            else:
                writer.close()

    def half_open(self) -> None:
        """Swallow everything from now on; neither side is told, not even that the other one has gone."""
        self.is_half_open = True


@dataclass(slots=True)
class _Trigger:
    direction: Direction
    left_bytes: int
    strike: Callable[[Link], None]


class FaultProxy:
    """Listens on a loopback port of its own and passes on to `server_port`; made and used in one event loop."""

    def __init__(
        self,
        server_port: int,
        up: LinkConfig | None = None,
        down: LinkConfig | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.server_port = server_port
        self.configs = {Direction.UP: up or LinkConfig(), Direction.DOWN: down or LinkConfig()}
        self.passed_bytes = dict.fromkeys(Direction, 0)
        self.connections = 0
        self._rng = rng or random.Random(0)
        self._links: set[Link] = set()
        self._dead: list[Link] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._trigger: _Trigger | None = None
        self._listener: asyncio.Server | None = None

    async def start(self) -> int:
        """Listen; returns the port."""
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=_BLOCK_BYTES)
        return int(self._listener.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Cut everything and listen no more."""
        if self._listener is not None:
            self._listener.close()
        for link in tuple(self._links):
            link.cut()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def arm(self, direction: Direction, after_bytes: int, strike: Callable[[Link], None]) -> None:
        """Call `strike` once exactly so many more bytes have been passed on, over all connections together."""
        if after_bytes < 1:
            raise InvalidValueError(f"FaultProxy.arm: expected after_bytes of at least 1, got {after_bytes}")
        self._trigger = _Trigger(direction, after_bytes, strike)

    def disarm(self) -> None:
        """Nothing will be struck."""
        self._trigger = None

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            await self._join(reader, writer)
        finally:
            self._tasks.discard(task)
            _abort(writer)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            from_server, to_server = await asyncio.open_connection("127.0.0.1", self.server_port, limit=_BLOCK_BYTES)
        except OSError:
            return  # the server is down; the vehicle sees a closed connection
        for each in (writer, to_server):  # what waits here when a connection is cut is lost
            each.transport.set_write_buffer_limits(high=_BLOCK_BYTES)
        link = Link(writer, to_server)
        self._links.add(link)
        pumps = [
            asyncio.create_task(self._pump(link, Direction.UP, reader, to_server)),
            asyncio.create_task(self._pump(link, Direction.DOWN, from_server, writer)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            if link.is_half_open:
                self._hold(link)
                await asyncio.wait(pumps)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            self._links.discard(link)
            _abort(to_server)

    def _hold(self, link: Link) -> None:
        """Keep the other side of a half-open connection, which knows nothing, for a while."""
        self._dead.append(link)
        if len(self._dead) > _DEAD_LINKS:
            self._dead.pop(0).cut()

    async def _pump(
        self, link: Link, direction: Direction, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        is_delayed = self._due_s(direction) > 0
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_QUEUED_BLOCKS if is_delayed else 1)
        sender = asyncio.create_task(self._send(link, direction, queue, writer))
        try:
            with suppress(ConnectionError):
                while block := await reader.read(_BLOCK_BYTES):
                    await queue.put((self._due_s(direction), block))
            await queue.put((0.0, b""))
            await sender
        finally:
            sender.cancel()

    def _due_s(self, direction: Direction) -> float:
        config = self.configs[direction]
        if not (config.delay_s or config.jitter_s or config.loss):
            return 0.0
        held_up_s = config.stall_s if self._rng.random() < config.loss else 0.0
        delay_s = config.delay_s + config.jitter_s * self._rng.random() + held_up_s
        return asyncio.get_running_loop().time() + delay_s

    async def _send(
        self, link: Link, direction: Direction, queue: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter
    ) -> None:
        """Pass blocks on when they are due, in order; an empty one ends it."""
        config, loop = self.configs[direction], asyncio.get_running_loop()
        while True:
            due_s, block = await queue.get()
            if not block:
                return
            if due_s > loop.time():
                await asyncio.sleep(due_s - loop.time())
            if config.bandwidth_bytes_per_s:
                await asyncio.sleep(len(block) / config.bandwidth_bytes_per_s)
            if config.reset and self._rng.random() < config.reset:
                link.cut()
            with suppress(ConnectionError):
                await self._pass(link, direction, block, writer)

    async def _pass(self, link: Link, direction: Direction, block: bytes, writer: asyncio.StreamWriter) -> None:
        while block and not link.is_half_open and not writer.transport.is_closing():
            trigger = self._trigger
            is_meant = trigger is not None and trigger.direction is direction
            part = block[: trigger.left_bytes] if trigger is not None and is_meant else block
            block = block[len(part) :]
            self.passed_bytes[direction] += len(part)
            writer.write(part)
            if trigger is not None and is_meant:
                trigger.left_bytes -= len(part)
                if trigger.left_bytes == 0:
                    self._trigger = None
                    trigger.strike(link)
            await writer.drain()


def _abort(writer: asyncio.StreamWriter) -> None:
    if not writer.transport.is_closing():  # asyncio does not survive the abort of a transport that has gone
        writer.transport.abort()
