"""What the server says on one upload stream: one message at a time, as long as the vehicle reads them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from protos import convert
from protos.policy import ServerTerms
from protos.v1 import ingest_pb2 as pb
from server.ingest.intake import Intake
from server.ingest.refusals import UnreadError, refusal_status
from server.repositories.repository import StoredScene
from shared_models.errors import UpcycleError

Write = Callable[[pb.UploadResponse], Awaitable[None]]


class Answers:
    """Its calls raise UnreadError once an answer has not been read in time: nothing can be said behind it."""

    def __init__(self, intake: Intake, terms: ServerTerms, write: Write) -> None:
        self._intake, self._terms, self._write_message = intake, terms, write
        self._writing = asyncio.Lock()
        self._is_unread = False
        self._uncredited_bytes = 0

    async def welcome(self) -> None:
        """The first one."""
        await self._write(pb.UploadResponse(welcome=convert.welcome_to_message(self._terms)))

    async def send_from(self, scene_id: str, offset: int) -> None:
        """A scene is open, and so much of it is held."""
        await self._say(pb.SceneAnswer(scene_id=bytes.fromhex(scene_id), send_from=pb.SendFrom(offset=offset)))

    async def stored(self, scene_id: str, scene: StoredScene, was_already_stored: bool) -> None:
        """A scene is durable."""
        stored = pb.Stored(was_already_stored=was_already_stored, stored_at_ns=scene.stored_at_ns)
        await self._say(pb.SceneAnswer(scene_id=bytes.fromhex(scene_id), stored=stored))

    async def refused(self, scene_id: str, error: UpcycleError, may_retry: bool | None) -> None:
        """A scene is not taken. may_retry: None: as it is with such errors."""
        status = refusal_status(error)
        refused = pb.Refused(
            reason=status.reason,
            message=str(error)[:1000],
            may_retry=status.may_retry if may_retry is None else may_retry,
            retry_after_ms=status.retry_after_ms,
        )
        await self._say(pb.SceneAnswer(scene_id=bytes.fromhex(scene_id), refused=refused))

    async def grant(self, count: int) -> None:
        """So many bytes have come and are dealt with; credit for them, once they are worth a message."""
        self._uncredited_bytes += count
        if self._terms.credit_bytes and self._uncredited_bytes >= self._terms.credit_bytes // 2:
            granted, self._uncredited_bytes = self._uncredited_bytes, 0
            await self._write(pb.UploadResponse(credit=pb.Credit(bytes=granted)))

    async def _say(self, answer: pb.SceneAnswer) -> None:
        await self._write(pb.UploadResponse(scene=answer))

    async def _write(self, message: pb.UploadResponse) -> None:
        limit_s = self._intake.config.slow_streams.write_s or None
        try:
            async with asyncio.timeout(limit_s), self._writing:
                if self._is_unread:  # gRPC takes no other message while it is not rid of the last one
                    raise UnreadError
                await self._write_message(message)
        except TimeoutError as error:
            if not self._is_unread:
                self._is_unread = True
                self._intake.metrics.streams_ended.labels("unread").inc()
            raise UnreadError from error
