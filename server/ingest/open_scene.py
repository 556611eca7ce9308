"""A scene while one stream sends it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from server.stores.store import PartialPayload
from shared_models.errors import ProtocolError, ServerUnreachableError, UpcycleError
from shared_models.records import SceneManifest

logger = logging.getLogger(__name__)
InThread = Callable[[Callable[[], object]], Awaitable[object]]

_REST_S = 0.05  # how long the last chunk waits for the finish that most often comes right behind it


class OpenScene:
    """A scene that one stream is sending. `lock` is held while anything happens to it.

    begun_s: when it was begun, seconds of the intake's steady clock.
    found_bytes: what was held of it when it was begun.
    held_bytes: what is kept of it when it is open no more.
    is_counted: whether it counts among its vehicle's open scenes.
    """

    def __init__(self, manifest: SceneManifest, begun_s: float, in_thread: InThread) -> None:
        """in_thread: runs blocking work off the event loop."""
        self.manifest, self.begun_s, self._in_thread = manifest, begun_s, in_thread
        self.scene_id = manifest.scene_id  # computed once: it is a hash
        self.lock = asyncio.Lock()
        self.partial: PartialPayload | None = None
        self.found_bytes, self.held_bytes, self.is_counted = 0, 0, False
        self._rest = b""  # the last chunk while it is not written
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Task[None] | None = None

    def held(self) -> PartialPayload:
        """What has come in.

        Raises:
            ServerUnreachableError: another stream has begun this scene since, or the store gave it up.
        """
        if self.partial is None:
            raise ServerUnreachableError(f"scene {self.scene_id[:12]} is being sent on another stream; begin it again")
        return self.partial

    async def add(self, offset: int, data: bytes) -> None:
        """Append the next chunk; the last one is written a moment later, or by whoever takes it: `take`.

        Raises:
            ProtocolError: not the next chunk, or beyond the declared end.
            ServerUnreachableError: as `held`. StorageError, StorageFullError: it cannot be written.
        """
        expected, end, declared = self.held().size + len(self._rest), offset + len(data), self.manifest.payload_bytes
        if offset != expected:
            raise ProtocolError(f"chunk at {offset}: expected the one at {expected}; begin the scene again")
        if end > declared:
            raise ProtocolError(f"chunk at {offset}: ends at {end}, the manifest says {declared}")
        if end < declared:
            await self._append(data)
            return
        self._rest = data
        self._timer = asyncio.get_running_loop().call_later(_REST_S, self._write_rest_later)

    def take(self) -> tuple[PartialPayload, bytes]:
        """What is written and what is not, for whoever finishes the scene. Raises as `held`."""
        partial, self.partial = self.held(), None
        return partial, self._take_rest()

    async def close(self, is_kept: bool = True) -> None:
        """Stop using it. is_kept: whether what has come is still there, for a later stream."""
        partial, self.partial = self.partial, None
        rest = self._take_rest()
        if partial is not None:
            self.held_bytes = partial.size + len(rest) if is_kept else 0
            await self._in_thread(lambda: _close(partial, rest))

    async def _append(self, data: bytes) -> None:
        partial = self.held()
        try:
            await self._in_thread(lambda: partial.append(data))
        except UpcycleError:
            await self.close(is_kept=False)  # the store has dropped it
            raise

    def _take_rest(self) -> bytes:
        rest, self._rest = self._rest, b""
        if self._timer is not None:
            self._timer.cancel()
        return rest

    def _write_rest_later(self) -> None:
        self._writing = asyncio.get_running_loop().create_task(self._write_rest())

    async def _write_rest(self) -> None:
        async with self.lock:
            rest = self._take_rest()
            try:
                if rest:
                    await self._append(rest)
            except UpcycleError as error:
                logger.warning("a last chunk is lost, the vehicle sends the scene again: %s", error)


def _close(partial: PartialPayload, rest: bytes) -> None:
    try:
        if rest:
            partial.append(rest)
    except UpcycleError as error:
        logger.warning("a last chunk is lost, the vehicle sends it again: %s", error)
    finally:
        partial.close()
