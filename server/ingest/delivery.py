"""The Delivery service of protos/v1/delivery.proto: the policy, and the published checkpoint's files."""

from __future__ import annotations

import asyncio
import hashlib
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import grpc

from protos import convert
from protos.policy import Policy
from protos.v1 import common_pb2, delivery_pb2_grpc
from protos.v1 import delivery_pb2 as pb
from server.ingest.access import check_own
from server.ingest.call_log import CallLog
from server.ingest.service import abort
from server.repositories.access_log import Action
from shared_models.checkpoints.manifest import MANIFEST_FILE, MODEL_FILE
from shared_models.errors import NotFoundError, ProtocolError, StorageError, UpcycleError

# What else lies in a run's checkpoint folder, such as the list of scenes seen, is not for vehicles.
_PUBLISHED = (MANIFEST_FILE, MODEL_FILE)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedFile:
    """One file of the checkpoint that vehicles may fetch; sha256 in hex."""

    path: Path
    size_bytes: int
    sha256: str


def list_published(directory: Path) -> tuple[PublishedFile, ...]:
    """The checkpoint's files in `directory`, by name.

    Raises:
        NotFoundError: there are none.
        StorageError: they cannot be read.
    """
    try:
        paths = sorted(path for path in directory.iterdir() if path.name in _PUBLISHED and path.is_file())
        files = tuple(_published(path) for path in paths)
    except OSError as error:
        raise StorageError(f"{directory}: {error.strerror}: check the folder given with --model") from error
    if not files:
        raise NotFoundError(f"no checkpoint (model.safetensors, manifest.json) lies in {directory.name}")
    return files


class DeliveryService(delivery_pb2_grpc.DeliveryServicer):
    """Hands out what vehicles may fetch."""

    def __init__(self, policy: Policy, model_directory: Path | None = None, calls: CallLog | None = None) -> None:
        """calls: where files that are handed out are logged; None: nowhere."""
        self._policy, self._directory, self._calls = policy, model_directory, calls

    async def GetPolicy(  # noqa: N802
        self, request: pb.GetPolicyRequest, context: grpc.aio.ServicerContext
    ) -> common_pb2.Policy:
        """What this server accepts."""
        try:
            _check_named(request.vehicle_id)
        except UpcycleError as error:
            await abort(context, error)
        return convert.policy_to_message(self._policy)

    async def GetModel(  # noqa: N802
        self, request: pb.GetModelRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[pb.GetModelResponse]:
        """The listing, then the file asked for from its offset on."""
        try:
            _check_named(request.vehicle_id)
            files = await self._files()
            listing = _listing(files)
            yield pb.GetModelResponse(listing=listing)
            if request.file_name:
                file = _chosen(files, request)
                await self._log(listing, file, request.offset)
                async for chunk in self._chunks(file, request.offset):
                    yield pb.GetModelResponse(chunk=chunk)
        except UpcycleError as error:
            await abort(context, error)

    async def _files(self) -> tuple[PublishedFile, ...]:
        if self._directory is None:
            raise NotFoundError("this server publishes no model; the operator can with `upcycle server serve --model`")
        return await asyncio.to_thread(list_published, self._directory)

    async def _log(self, listing: pb.ModelListing, file: PublishedFile, offset: int) -> None:
        if self._calls is not None:
            detail = {"file": file.path.name, "offset": offset, "sha256": file.sha256}
            await self._calls.record(Action.MODEL_FETCH, listing.model_id.hex(), detail)

    async def _chunks(self, file: PublishedFile, offset: int) -> AsyncIterator[pb.ModelChunk]:
        size = self._policy.limits.max_chunk_bytes
        while data := await asyncio.to_thread(_read, file.path, offset, size):
            yield pb.ModelChunk(offset=offset, data=data, crc32=zlib.crc32(data))
            offset += len(data)


def _check_named(vehicle_id: str) -> None:
    """A vehicle need not name itself here; if it does, then by its own name."""
    if vehicle_id:
        check_own(vehicle_id, "delivery")


def _published(path: Path) -> PublishedFile:
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return PublishedFile(path=path, size_bytes=file.tell(), sha256=digest)


def _listing(files: tuple[PublishedFile, ...]) -> pb.ModelListing:
    lines = [f"{file.path.name} {file.size_bytes} {file.sha256}" for file in files]
    model_id = hashlib.sha256("\n".join(["upcycle.model.v1", *lines]).encode()).digest()
    return pb.ModelListing(
        model_id=model_id,
        files=[
            pb.ModelFile(name=file.path.name, size_bytes=file.size_bytes, sha256=bytes.fromhex(file.sha256))
            for file in files
        ],
    )


def _chosen(files: tuple[PublishedFile, ...], request: pb.GetModelRequest) -> PublishedFile:
    for file in files:
        if file.path.name == request.file_name:
            if request.offset > file.size_bytes:
                raise ProtocolError(f"{file.path.name}: offset {request.offset} lies behind its end, {file.size_bytes}")
            return file
    known = ", ".join(file.path.name for file in files)
    raise NotFoundError(f"no file {request.file_name[:100]!r} in the model; its files: {known}")


def _read(path: Path, offset: int, size: int) -> bytes:
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            return file.read(size)
    except OSError as error:
        raise StorageError(f"{path.name}: {error.strerror}: the model changed meanwhile; ask again") from error
