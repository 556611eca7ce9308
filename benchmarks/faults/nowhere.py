"""A gRPC server that takes a stream of bytes and forgets them: what the transport alone costs.

with nowhere() as port: ...        or by itself: python -m benchmarks.faults.nowhere
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc

METHOD = "/nowhere.Sink/Send"
_REPOSITORY = Path(__file__).resolve().parents[2]


@contextmanager
def nowhere() -> Iterator[int]:
    """The port of such a server in a process of its own, killed at the end."""
    command = [sys.executable, "-m", "benchmarks.faults.nowhere"]
    with subprocess.Popen(command, cwd=_REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


async def _send(requests: AsyncIterator[bytes], context: Any) -> bytes:
    received = 0
    async for data in requests:
        received += len(data)
    return received.to_bytes(8, "big")


async def _serve() -> None:
    server = grpc.aio.server()
    service, _, method = METHOD[1:].partition("/")
    handlers = {method: grpc.stream_unary_rpc_method_handler(_send)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(_serve())
