"""The Ingest service of protos/v1/ingest.proto: from gRPC calls to sessions, and from errors to statuses."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from importlib import metadata
from typing import NoReturn

import grpc
from google.protobuf.message import DecodeError

from protos import convert
from protos.policy import ServerTerms, VehicleIdentity, choose_version
from protos.status import trailing_metadata
from protos.v1 import ingest_pb2 as pb
from protos.v1 import ingest_pb2_grpc
from server.ingest.access import check_own
from server.ingest.intake import Intake
from server.ingest.open_streams import OpenStreams
from server.ingest.refusals import TryLaterError, UnreadError, refusal_status
from server.ingest.session import UploadSession
from server.repositories.access_log import Action
from server.repositories.repository import StoredScene
from shared_models.errors import ProtocolError, UpcycleError

logger = logging.getLogger(__name__)


async def abort(context: grpc.aio.ServicerContext, error: UpcycleError) -> NoReturn:
    """End the call with the status of `error`."""
    status = refusal_status(error)
    context.set_trailing_metadata(trailing_metadata(status))
    await context.abort(status.grpc, str(error)[:1000])
    raise AssertionError("abort returns never")


class IngestService(ingest_pb2_grpc.IngestServicer):
    """Answers handshakes, upload streams and status queries."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self.streams = OpenStreams(intake.config.limits, intake.config.slow_streams, intake.metrics)
        self._sessions: set[asyncio.Future[None]] = set()

    async def sessions_ended(self) -> None:
        """Wait until streams that gRPC has cut have let go of their scenes."""
        while self._sessions:
            await asyncio.wait(self._sessions)

    async def Handshake(self, request: pb.Hello, context: grpc.aio.ServicerContext) -> pb.Welcome:  # noqa: N802
        """May this vehicle send?"""
        try:
            identity = convert.hello_from_message(request)
            check_own(identity.vehicle_id, "hello")
            return convert.welcome_to_message(self._terms(identity))
        except UpcycleError as error:
            await abort(context, error)

    async def Upload(  # noqa: N802
        self, request_iterator: AsyncIterator[pb.UploadRequest], context: grpc.aio.ServicerContext
    ) -> None:
        """Take scenes in until the vehicle ends the stream."""
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sessions.add(ended)
        try:
            await self._serve(_readable(request_iterator), context)
        except (UnreadError, TimeoutError) as error:
            # No status can be sent behind an answer that nobody reads: the call ends with its connection. All that this
            # server holds for it is let go now.
            raise asyncio.CancelledError from error
        finally:
            self._sessions.discard(ended)
            ended.set_result(None)

    async def _serve(self, requests: AsyncIterator[pb.UploadRequest], context: grpc.aio.ServicerContext) -> None:
        try:
            self.streams.check_room(len(self._sessions) - 1)
            identity = await self._greet(requests)
            session = UploadSession(self._intake, identity, self._terms(identity), context.write)
            with self.streams.holding(session):
                await session.run(requests)
        except UpcycleError as error:
            level = logging.INFO if isinstance(error, TryLaterError) else logging.WARNING
            logger.log(level, "stream refused: %s", error)
            self._intake.metrics.count_refusal(self._intake.metrics.streams_refused, error)
            if isinstance(error, UnreadError):
                raise
            async with asyncio.timeout(self._intake.config.slow_streams.write_s or None):
                await abort(context, error)

    async def SceneStatus(  # noqa: N802
        self, request: pb.SceneStatusRequest, context: grpc.aio.ServicerContext
    ) -> pb.SceneStatusResponse:
        """What is stored of some scenes of one vehicle?"""
        try:
            check_own(request.vehicle_id, "status query")
            limit = self._intake.policy.limits.max_scene_ids_per_query
            if len(request.scene_ids) > limit:
                raise ProtocolError(f"status query: expected at most {limit} scene ids, got {len(request.scene_ids)}")
            scene_ids = [convert.scene_id_from_bytes(value) for value in request.scene_ids]
            await self._intake.calls.record_overseer(Action.LIST, request.vehicle_id, {"scenes": len(scene_ids)})
            stored, partial = await self._intake.look_up(scene_ids)
        except UpcycleError as error:
            await abort(context, error)
        own = {s: scene for s, scene in stored.items() if self._intake.is_of(scene, request.vehicle_id)}
        return pb.SceneStatusResponse(scenes=[_scene_status(s, own.get(s), partial.get(s, 0)) for s in scene_ids])

    async def _greet(self, requests: AsyncIterator[pb.UploadRequest]) -> VehicleIdentity:
        try:
            async with asyncio.timeout(self._intake.config.hello_timeout_s):
                first = await anext(requests, None)
        except TimeoutError as error:
            raise ProtocolError("no hello came on a new stream in time") from error
        if first is None or first.WhichOneof("message") != "hello":
            raise ProtocolError("expected hello as the first message of a stream")
        identity = convert.hello_from_message(first.hello)
        check_own(identity.vehicle_id, "hello")
        return identity

    def _terms(self, identity: VehicleIdentity) -> ServerTerms:
        """What this vehicle is told; raises what refuses it."""
        version = choose_version(identity.protocol_versions)
        policy = self._intake.policy
        policy.check_backbone(identity.backbone_hash, identity.split_layer)
        policy.check_codec(*identity.codecs)
        logger.info("vehicle admitted", extra={"vehicle": self._intake.tag(identity.vehicle_id)})
        return ServerTerms(
            protocol_version=version,
            policy=policy,
            credit_bytes=self._intake.config.credit_bytes,
            server_version=_own_version(),
            takes_data_in_begin=True,
        )


async def _readable(requests: AsyncIterator[pb.UploadRequest]) -> AsyncIterator[pb.UploadRequest]:
    try:
        async for request in requests:
            yield request
    except DecodeError as error:
        raise ProtocolError(f"a message on the stream is no upcycle.v1.UploadRequest: {error}") from error


def _scene_status(scene_id: str, stored: StoredScene | None, held: int) -> pb.SceneStatus:
    scene_id_bytes = bytes.fromhex(scene_id)
    if stored is not None:
        return pb.SceneStatus(
            scene_id=scene_id_bytes,
            state=pb.SceneStatus.STATE_STORED,
            committed_offset=stored.manifest.payload_bytes,
            stored_at_ns=stored.stored_at_ns,
        )
    state = pb.SceneStatus.STATE_PARTIAL if held else pb.SceneStatus.STATE_UNKNOWN
    return pb.SceneStatus(scene_id=scene_id_bytes, state=state, committed_offset=held)


def _own_version() -> str:
    try:
        return f"upcycle-fleet {metadata.version('upcycle-fleet')}"
    except metadata.PackageNotFoundError:
        return "upcycle-fleet (not installed)"
