"""Actors from the harness's side: born in a nursery, killed with SIGKILL, their end awaited.

async with Nursery(log) as nursery:
    actor = await nursery.start("server", arguments)     # -> Actor
    actor.kill()
    status = await actor.ended()                         # -9
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from shared_models.errors import OperatorError

_REPOSITORY = Path(__file__).resolve().parents[2]
_START_TIMEOUT_S = 120.0  # importing everything, on a busy machine


class Actor:
    """A process that does one thing until it ends or is killed."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.end: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended yet, as far as the nursery has said."""
        return not self.end.done()

    def kill(self) -> None:
        """`kill -9`, now; nothing happens where it has ended."""
        self.signal(signal.SIGKILL)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens where it has ended."""
        if self.is_alive:  # its number is not given anew before the nursery has buried it, and told so
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                return

    async def ended(self, within_s: float = 60.0) -> int:
        """Its exit status as subprocess gives it.

        Raises:
            TimeoutError: it goes on.
        """
        return await asyncio.wait_for(asyncio.shield(self.end), within_s)


class Nursery:
    """Starts `benchmarks.faults.nursery`, and actors in it."""

    def __init__(self, log: Path) -> None:
        """`log` gets what the actors print."""
        self._log = log
        self._alive: dict[int, Actor] = {}
        self._births: asyncio.Queue[Actor] = asyncio.Queue()

    async def __aenter__(self) -> Nursery:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        with open(self._log, "ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "benchmarks.faults.nursery",
                cwd=_REPOSITORY, env=environment, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )  # fmt: skip
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._input, self._output = self._process.stdin, self._process.stdout
        async with asyncio.timeout(_START_TIMEOUT_S):
            if not await self._output.readline():
                raise OperatorError(f"the nursery did not start, see {self._log}")
        self._listening = asyncio.create_task(self._listen())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._input.close()
        await self._process.wait()
        await self._listening

    async def start(self, actor: str, arguments: dict[str, Any]) -> Actor:
        """Fork one; the name is one of `actors.ACTORS`. One call at a time."""
        self._input.write((json.dumps({"actor": actor, "arguments": arguments}) + "\n").encode())
        async with asyncio.timeout(_START_TIMEOUT_S):
            return await self._births.get()

    async def _listen(self) -> None:
        while line := await self._output.readline():
            event = json.loads(line)
            if "forked" in event:
                actor = self._alive[event["forked"]] = Actor(event["forked"])
                self._births.put_nowait(actor)
            else:
                self._alive.pop(event["ended"]).end.set_result(event["status"])
