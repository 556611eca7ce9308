"""One upload stream: the order of its messages, and one answer for each scene."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Coroutine
from typing import Any

from protos import convert
from protos.policy import ServerTerms, VehicleIdentity
from protos.v1 import ingest_pb2 as pb
from server.ingest.answers import Answers, Write
from server.ingest.completion import Acknowledged
from server.ingest.intake import Intake
from server.ingest.open_scene import OpenScene
from server.ingest.slow_streams import SlowStreamConfig, Waiting
from shared_models.errors import (
    PermissionDeniedError,
    ProtocolError,
    ServerUnreachableError,
    UpcycleError,
)
from shared_models.records import SceneManifest

logger = logging.getLogger(__name__)

_REMEMBERED_CLOSED = 256  # scenes whose late chunks are still expected after a refusal


class UploadSession:
    """Serves one stream from its welcome to its end."""

    def __init__(self, intake: Intake, identity: VehicleIdentity, terms: ServerTerms, write: Write) -> None:
        self._intake, self._identity, self._terms = intake, identity, terms
        self._answers = Answers(intake, terms, write)
        self._open: dict[str, OpenScene] = {}
        self._closed: deque[str] = deque(maxlen=_REMEMBERED_CLOSED)
        self._beginning: dict[str, asyncio.Task[None]] = {}  # scenes on whose begin the server works
        self._working: set[asyncio.Task[None]] = set()  # those, and the ones that are being finished
        self._unanswered = 0  # how many of both have no answer yet
        self._waiting, self._task = Waiting(), asyncio.current_task()
        self.is_ended = False
        self._ended_by: UpcycleError | None = None
        self._draining: UpcycleError | None = None

    @property
    def vehicle_id(self) -> str:
        """Who sends."""
        return self._identity.vehicle_id

    @property
    def tag(self) -> str:
        """What the log calls the vehicle now."""
        return self._intake.tag(self._identity.vehicle_id)

    def fault(self, config: SlowStreamConfig, now_s: float) -> str | None:
        """See `Waiting.fault`."""
        return self._waiting.fault(config, now_s, bool(self._open), bool(self._unanswered))

    def end(self, error: UpcycleError | None) -> bool:
        """End the stream with `error`, or well, as soon as the message at hand is dealt with; False if it ends already.

        Scenes that are being finished are answered first; of the others what came is kept.
        """
        if self.is_ended:
            return False
        self.is_ended, self._ended_by = True, error
        if self._waiting.since_s is not None and self._task is not None:
            self._task.cancel()
        return True

    def drain(self, error: UpcycleError) -> None:
        """End with `error` once every open scene has its answer."""
        self._draining = error
        self._end_if_drained()

    async def run(self, requests: AsyncIterator[pb.UploadRequest]) -> None:
        """Handle messages until the vehicle ends the stream or is gone.

        Raises:
            ProtocolError: a message makes no sense on this stream, which has to end.
            UpcycleError: what it was ended with.
        """
        await self._answers.welcome()
        try:
            await self._take(requests)
            await asyncio.gather(*self._working)
        finally:
            self._waiting.since_s = None
            # Finishing scenes run on even if the vehicle is gone; begun ones keep what came for the next stream.
            await asyncio.gather(*self._working, return_exceptions=True)
            for scene in tuple(self._open.values()):
                await self._intake.release(scene)

    async def _take(self, requests: AsyncIterator[pb.UploadRequest]) -> None:
        waiting = self._waiting
        waiting.since_s = time.monotonic()
        try:
            async for request in requests:
                waiting.since_s = None
                await self._handle(request)
                self._end_if_drained()
                if self.is_ended:
                    break
                waiting.since_s = time.monotonic()
        except asyncio.CancelledError:
            # By end(), unless gRPC has cancelled the call as well, because the vehicle is gone.
            if not self.is_ended or waiting.since_s is None or self._task is None or self._task.uncancel():
                raise
        # From here on end() must not cancel this task: it waits for scenes that are being finished, and then answers.
        waiting.since_s = None
        if self._ended_by is not None:
            await asyncio.gather(*self._working)
            raise self._ended_by

    def _end_if_drained(self) -> None:
        if self._draining is not None and not self._open and not self._unanswered:
            self.end(self._draining)

    async def _handle(self, request: pb.UploadRequest) -> None:
        match request.WhichOneof("message"):
            case "begin":
                self._begin(request.begin)
                await self._keep_up()
            case "chunk":
                await self._chunk(request.chunk)
            case "finish":
                scene = await self._scene(request.finish.scene_id)
                if scene is not None:
                    self._finish(scene)
            case "report":
                self._intake.note_report(self._identity.vehicle_id, convert.report_from_message(request.report))
            case "hello":
                raise ProtocolError("hello came twice on one stream: open a new stream")
            case _:
                pass  # a kind of message newer than this build

    async def _keep_up(self) -> None:
        """Read on only while few scenes wait for the disk, and few answers for the vehicle: all are in memory."""
        if self._intake.is_crowded:
            await asyncio.wait([*self._beginning.values()])
        while len(self._working) > self._terms.policy.limits.max_scenes_in_flight:
            await asyncio.wait([*self._working], return_when=asyncio.FIRST_COMPLETED)

    def _begin(self, message: pb.BeginScene) -> None:
        """Begin a scene beside the messages that follow; those of this scene wait for it."""
        scene_id = convert.scene_id_from_bytes(message.scene_id)
        if scene_id in self._open or scene_id in self._beginning:
            raise ProtocolError(f"scene {scene_id[:12]} was begun twice on one stream")
        in_flight = len(self._open) + self._unanswered
        self._unanswered += 1
        self._beginning[scene_id] = self._work_on(self._open_or_store(scene_id, message, in_flight))

    async def _open_or_store(self, scene_id: str, message: pb.BeginScene, in_flight: int) -> None:
        data = message.data  # each time that it is asked for, it is copied
        try:
            try:
                manifest = self._admit(message, in_flight)
                convert.check_begin_data(message, data, self._terms.policy.limits.max_chunk_bytes)
                found = await self._taken(manifest, data)
            finally:
                self._unanswered -= 1  # before the answer, on which the vehicle may begin the next at once
                del self._beginning[scene_id]
            if isinstance(found, OpenScene):
                self._open[scene_id] = found
        except UpcycleError as error:
            await self._refuse(scene_id, error)
        else:
            await self._tell(scene_id, found)
        finally:
            await self._received(len(data))

    def _admit(self, message: pb.BeginScene, in_flight: int) -> SceneManifest:
        if in_flight >= self._terms.policy.limits.max_scenes_in_flight:
            raise ServerUnreachableError(f"{in_flight} scenes are in flight on this stream already: wait for one")
        manifest = convert.begin_from_message(message)
        if manifest.vehicle_id != self._identity.vehicle_id:
            raise PermissionDeniedError(
                f"frame {manifest.frame_id}: made by another vehicle than the one that said hello"
            )
        return manifest

    async def _taken(self, manifest: SceneManifest, data: bytes) -> OpenScene | Acknowledged:
        if data and len(data) == manifest.payload_bytes:
            return await self._intake.take_whole(manifest, data)
        found = await self._intake.begin(manifest, data)
        return found if isinstance(found, OpenScene) else Acknowledged(found, was_already_stored=True)

    async def _tell(self, scene_id: str, found: OpenScene | Acknowledged) -> None:
        if isinstance(found, OpenScene):
            await self._answers.send_from(scene_id, found.held().size)
        else:
            await self._answers.stored(scene_id, found.scene, found.was_already_stored)

    async def _chunk(self, message: pb.Chunk) -> None:
        scene, size = await self._scene(message.scene_id), len(message.data)
        if scene is not None:
            try:
                data = convert.chunk_data(message, self._terms.policy.limits.max_chunk_bytes)
                await self._intake.add_chunk(scene, message.offset, data)
            except UpcycleError as error:
                await self._intake.release(scene)
                # The scene itself may be sound: begun again, it goes on at the last good byte.
                await self._refuse(scene.scene_id, error, may_retry=True)
            else:
                if message.is_last:
                    self._finish(scene)
        await self._received(size)

    async def _received(self, size: int) -> None:
        self._waiting.received_bytes += size
        await self._answers.grant(size)

    def _finish(self, scene: OpenScene) -> None:
        self._close(scene.scene_id)
        self._unanswered += 1
        self._work_on(self._store(scene))

    def _work_on(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._working.add(task)
        task.add_done_callback(self._worked)
        return task

    def _worked(self, task: asyncio.Task[None]) -> None:
        self._working.discard(task)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, UpcycleError):
            self.end(error)  # the answer could not be written
        self._end_if_drained()

    async def _store(self, scene: OpenScene) -> None:
        try:
            try:
                stored = await self._intake.finish(scene)
            finally:
                self._unanswered -= 1  # before the answer, on which the vehicle may begin the next at once
        except ProtocolError as error:
            await self._refuse(scene.scene_id, error, may_retry=True)
        except UpcycleError as error:
            await self._refuse(scene.scene_id, error)
        else:
            await self._answers.stored(scene.scene_id, stored, was_already_stored=False)

    async def _scene(self, scene_id_bytes: bytes) -> OpenScene | None:
        """The open scene that is meant; None where it was closed a moment ago and the vehicle may not know yet."""
        scene_id = convert.scene_id_from_bytes(scene_id_bytes)
        if scene_id in self._beginning:
            await asyncio.wait([self._beginning[scene_id]])
        if scene_id not in self._open and scene_id not in self._closed:
            raise ProtocolError(f"scene {scene_id[:12]} was not begun on this stream")
        return self._open.get(scene_id)

    def _close(self, scene_id: str) -> None:
        self._open.pop(scene_id, None)
        self._closed.append(scene_id)

    async def _refuse(self, scene_id: str, error: UpcycleError, may_retry: bool | None = None) -> None:
        self._close(scene_id)
        self._intake.metrics.count_refusal(self._intake.metrics.scenes_refused, error)
        logger.warning("scene refused: %s", error, extra={"scene": scene_id[:12], "vehicle": self.tag})
        await self._answers.refused(scene_id, error, may_retry)
