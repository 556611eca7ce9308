"""Blocking work that costs less together: what comes while batches are in threads waits for the next one."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Generic, TypeVar

from shared_models.errors import UpcycleError

_T = TypeVar("_T")
_R = TypeVar("_R")


class Batches(Generic[_T, _R]):
    """Hands items to threads in batches; lives in one event loop.

    Nobody waits for company: an item that comes while a thread is free goes alone.
    """

    def __init__(
        self, work: Callable[[list[_T]], Sequence[_R | UpcycleError]], threads: Executor, size: int, at_once: int
    ) -> None:
        """`work` gives one outcome for each item, in order. size: items of a batch. at_once: batches in threads."""
        self._work, self._threads, self._size, self._at_once = work, threads, size, at_once
        self._waiting: list[tuple[_T, asyncio.Future[_R]]] = []
        self._running = 0

    async def add(self, item: _T) -> _R:
        """The outcome of `item`; when cancelled, only after it is known. Raises the error that is its outcome."""
        future: asyncio.Future[_R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        self._start()
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait([future])
            raise

    def _start(self) -> None:
        while self._waiting and self._running < self._at_once:
            batch, self._waiting = self._waiting[: self._size], self._waiting[self._size :]
            self._running += 1
            items = [item for item, _ in batch]
            job = asyncio.get_running_loop().run_in_executor(self._threads, self._work, items)
            job.add_done_callback(functools.partial(self._done, [future for _, future in batch]))

    def _done(self, futures: list[asyncio.Future[_R]], job: asyncio.Future[Sequence[_R | UpcycleError]]) -> None:
        self._running -= 1
        error = job.exception()
        outcomes = [error] * len(futures) if error is not None else job.result()
        for future, outcome in zip(futures, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)
        self._start()
