"""Checks every call of a TLS port before its service sees it: certificate, revocation, expiry, role."""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import lru_cache
from typing import Any, TypeVar

import grpc
from cryptography import x509

from server.ingest.access import check_role, set_caller
from server.ingest.service import abort
from server.ingest.tls import TlsFolder
from server.pki.identity import Peer, peer_of
from shared_models.errors import UnauthenticatedError, UpcycleError

logger = logging.getLogger(__name__)

_PEER_CERTIFICATE = "x509_pem_cert"  # gRPC's name of the property in the authentication context
_T = TypeVar("_T")


class AccessInterceptor(grpc.aio.ServerInterceptor):
    """Answers UNAUTHENTICATED or PERMISSION_DENIED in the place of a service; streams are checked at each message."""

    def __init__(self, tls: TlsFolder, on_refused: Callable[[UpcycleError], None] = lambda error: None) -> None:
        """on_refused: learns of every caller who is not admitted."""
        self._tls, self._on_refused = tls, on_refused

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """The handler of the call with the checks around it; gRPC answers itself where there is none."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return handler
        method = str(handler_call_details.method)
        coders = handler.request_deserializer, handler.response_serializer
        if handler.unary_unary:
            return grpc.unary_unary_rpc_method_handler(self._answering(handler.unary_unary, method), *coders)
        if handler.unary_stream:
            return grpc.unary_stream_rpc_method_handler(self._streaming(handler.unary_stream, method), *coders)
        if handler.stream_unary:
            return grpc.stream_unary_rpc_method_handler(self._answering(handler.stream_unary, method), *coders)
        return grpc.stream_stream_rpc_method_handler(self._streaming(handler.stream_stream, method), *coders)

    def _answering(self, behaviour: Any, method: str) -> Any:
        async def answer(request: Any, context: grpc.aio.ServicerContext) -> Any:
            peer = await self._admit(method, context)
            return await behaviour(self._watched(request, peer), context)

        return answer

    def _streaming(self, behaviour: Any, method: str) -> Any:
        """A coroutine that writes, whichever of gRPC's two styles `behaviour` has."""

        async def stream(request: Any, context: grpc.aio.ServicerContext) -> None:
            peer = await self._admit(method, context)
            result = behaviour(self._watched(request, peer), context)
            if not inspect.isasyncgen(result):
                await result
                return
            try:
                async for message in result:
                    self._tls.check(peer)
                    await context.write(message)
            except UpcycleError as error:
                await self._refuse(method, context, error)

        return stream

    async def _admit(self, method: str, context: grpc.aio.ServicerContext) -> Peer:
        try:
            peer = _peer(context)
            self._tls.check(peer)
            check_role(method, peer)
        except UpcycleError as error:
            await self._refuse(method, context, error)
        set_caller(peer)
        return peer

    async def _refuse(self, method: str, context: grpc.aio.ServicerContext, error: UpcycleError) -> None:
        logger.warning("call refused: %s", error, extra={"method": method})
        self._on_refused(error)
        await abort(context, error)

    def _watched(self, request: Any, peer: Peer) -> Any:
        return self._each(request, peer) if hasattr(request, "__aiter__") else request

    async def _each(self, requests: AsyncIterator[_T], peer: Peer) -> AsyncIterator[_T]:
        async for request in requests:
            self._tls.check(peer)  # a stream may outlive its certificate
            yield request


def _peer(context: grpc.aio.ServicerContext) -> Peer:
    shown = tuple(context.auth_context().get(_PEER_CERTIFICATE, ()))
    if not shown:
        raise UnauthenticatedError("no certificate came with the connection: give the vehicle one with --tls")
    return _read(bytes(shown[0]))


@lru_cache(maxsize=4096)
def _read(pem: bytes) -> Peer:
    try:
        return peer_of(x509.load_pem_x509_certificate(pem))
    except ValueError as error:
        raise UnauthenticatedError(f"the certificate cannot be read: {error}") from error
