"""The proxy passes bytes on unchanged, and breaks links exactly where it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from benchmarks.faults.proxy import Direction, FaultProxy, Link, LinkConfig
from shared_models.errors import InvalidValueError

Scene = Callable[["Sink", FaultProxy, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Sink:
    """A server that keeps what comes and answers it with the same; `ended` once a connection is over."""

    def __init__(self) -> None:
        self.received = b""
        self.ended = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while block := await reader.read(1 << 16):
                self.received += block
                writer.write(block)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()
            self.ended.set()


def play(scene: Scene, up: LinkConfig | None = None, down: LinkConfig | None = None) -> None:
    """Run `scene` with a sink, a proxy in front of it and a connection to that."""

    async def run() -> None:
        sink = Sink()
        server = await asyncio.start_server(sink.serve, "127.0.0.1", 0)
        proxy = FaultProxy(server.sockets[0].getsockname()[1], up, down)
        reader, writer = await asyncio.open_connection("127.0.0.1", await proxy.start())
        try:
            async with asyncio.timeout(60):
                await scene(sink, proxy, reader, writer)
        finally:
            writer.close()
            await proxy.close()
            server.close()
            await asyncio.sleep(0)  # transports close at the loop's next turn

    asyncio.run(run())


BYTES = bytes(range(256)) * 2000


@pytest.mark.parametrize("config", [LinkConfig(), LinkConfig(delay_s=0.01, jitter_s=0.005, loss=0.1, stall_s=0.02)])
def test_bytes_pass_unchanged_and_in_order(config: LinkConfig) -> None:
    async def scene(sink: Sink, proxy: FaultProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(BYTES)
        assert await reader.readexactly(len(BYTES)) == BYTES
        assert sink.received == BYTES
        assert proxy.passed_bytes == {Direction.UP: len(BYTES), Direction.DOWN: len(BYTES)}

    play(scene, config, config)


@pytest.mark.parametrize("after", [1, 777, 16_384, 16_385, 300_000])
def test_a_link_is_cut_after_exactly_so_many_bytes(after: int) -> None:
    async def scene(sink: Sink, proxy: FaultProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        proxy.arm(Direction.UP, after, lambda link: link.cut(is_reset=False))
        writer.write(BYTES)
        await sink.ended.wait()
        assert sink.received == BYTES[:after]
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(len(BYTES))

    play(scene)


def test_a_reset_reaches_both_sides() -> None:
    async def scene(sink: Sink, proxy: FaultProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        proxy.arm(Direction.DOWN, 5, lambda link: link.cut())
        writer.write(b"0123456789")
        await sink.ended.wait()
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(10)

    play(scene)


def test_half_open_swallows_everything_and_tells_nobody() -> None:
    async def scene(sink: Sink, proxy: FaultProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        links: list[Link] = []

        def strike(link: Link) -> None:
            link.half_open()
            links.append(link)

        proxy.arm(Direction.UP, 4, strike)
        writer.write(b"01234567")
        while not links:
            await asyncio.sleep(0)
        writer.write(b"89")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(100), 0.05)
        writer.close()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(sink.ended.wait(), 0.05)
        assert sink.received == b"0123"
        links[0].cut()
        await sink.ended.wait()

    play(scene)


def test_delay_and_bandwidth_take_their_time() -> None:
    async def scene(sink: Sink, proxy: FaultProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        clock = asyncio.get_running_loop().time
        started_s = clock()
        writer.write(b"x" * 32_768)
        await reader.readexactly(32_768)
        assert clock() - started_s >= 0.05 + 32_768 / 1e6

    play(scene, LinkConfig(delay_s=0.05, bandwidth_bytes_per_s=1e6))


def test_resets_come_by_chance() -> None:
    async def scene(sink: Sink, proxy: FaultProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"x")
        await sink.ended.wait()
        assert sink.received == b""

    play(scene, LinkConfig(reset=1.0))


def test_nobody_at_home() -> None:
    async def run() -> None:
        proxy = FaultProxy(1)  # a port on which nobody listens
        reader, writer = await asyncio.open_connection("127.0.0.1", await proxy.start())
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        writer.close()
        await proxy.close()
        await asyncio.sleep(0)

    asyncio.run(run())


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="chances between 0 and 1"):
        LinkConfig(loss=1.5)
    with pytest.raises(InvalidValueError, match="of 0 or more"):
        LinkConfig(delay_s=-1)
    with pytest.raises(InvalidValueError, match="at least 1"):
        FaultProxy(1).arm(Direction.UP, 0, lambda link: None)
