"""Carry scenes from the outbox to the server, and lose none.

How to use it, all at once (blocks until the outbox is empty):

    identity = VehicleIdentity(vehicle_id="car-1", backbone_hash=detector.backbone_hash,
                               split_layer="conv_out", codecs=("int8",))
    outbox = Outbox(Path("spool"), OutboxConfig(max_bytes=2 << 30))
    outbox.put(encoded_scene)                                   # durable when it returns; same scene twice = once
    report = Uploader("host:50051", identity).run(outbox)       # -> UploadReport

or beside a loop that makes scenes:

    uploader = Uploader("host:50051", identity, UploaderConfig(give_up_after_s=60.0))
    terms = uploader.handshake()                                # -> ServerTerms; raises at once if nothing fits
    with uploader.in_background(outbox) as background:          # sends while frames are processed
        for frame in frames:
            outbox.put(encode(extract(frame)))
            background.check()                                  # raises here what the sending thread ran into
        report = background.finish()                            # sends the rest, joins -> UploadReport

Leaving the `with` without `finish()` stops the thread and keeps unsent scenes in the outbox for the next start.
`put` waits for this machine's disk only: a slow or dead server never stops the loop.
A refused scene is kept aside with the outbox's dead letters and listed in `report.refusals`; it blocks no other.

`run`, `handshake`, `check` and `finish` raise `BackboneMismatchError`, `VersionError` or `CodecRefusedError` when the
server refuses this vehicle, `run` and `finish` also `ServerUnreachableError` after `give_up_after_s` without progress
(None: never). While scenes are still made, a server may be away for any time: they wait in the outbox.
`Outbox.counts()` -> `OutboxCounts(pending, pending_bytes, delivered, dead, evicted, dead_dropped, evicted_bytes)`.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable

import grpc

from protos import convert
from protos.policy import ServerTerms, VehicleIdentity
from protos.status import error_from_call, retry_after_ms
from protos.v1 import ingest_pb2_grpc
from shared_models.errors import IntegrityError, OperatorError, ServerUnreachableError, UpcycleError
from vehicle_client.background_upload import BackgroundUpload
from vehicle_client.backoff import Backoff, Patience
from vehicle_client.channel import open_channel
from vehicle_client.diagnosis import explain
from vehicle_client.scene_queue import NoLimit, SceneQueue, SendingGate
from vehicle_client.tls import TlsFiles
from vehicle_client.upload_call import UploadCall
from vehicle_client.upload_config import UploaderConfig
from vehicle_client.upload_stream import UploadStream
from vehicle_client.upload_tally import Refusal, Tally, UploadReport

__all__ = ["BackgroundUpload", "Refusal", "UploadReport", "Uploader", "UploaderConfig", "VehicleIdentity"]

logger = logging.getLogger(__name__)

_UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


class Uploader:
    """Sends what waits in an outbox to one server."""

    def __init__(
        self,
        target: str,
        identity: VehicleIdentity,
        config: UploaderConfig | None = None,
        clock_s: Callable[[], float] = time.monotonic,
        wait: Callable[[threading.Event, float], object] = threading.Event.wait,
        random_unit: Callable[[], float] = random.random,
        gate: SendingGate | None = None,
        tls: TlsFiles | None = None,
    ) -> None:
        """`target` is HOST:PORT; `gate` is asked before each chunk; the three before it are replaced in tests only.

        tls: what both sides prove with who they are; None: no encryption.
        """
        self.target, self.identity, self.config = target, identity, config or UploaderConfig()
        self._clock_s, self._wait = clock_s, wait
        delays = (self.config.first_delay_s, self.config.max_delay_s, self.config.max_asked_s)
        self._backoff = Backoff(*delays, random_unit)
        self._gate, self._tls = gate or NoLimit(), tls
        self._terms: ServerTerms | None = None
        self._stop, self._drain, self._wake = threading.Event(), threading.Event(), threading.Event()
        self._tally = Tally()
        self._stream: UploadStream | None = None

    def handshake(self) -> ServerTerms:
        """Ask the server for its terms.

        Raises:
            BackboneMismatchError, CodecRefusedError, VersionError: this vehicle may not send.
            UnauthenticatedError, PermissionDeniedError: one side's certificate does not convince the other.
            ServerUnreachableError: nobody answers.
        """
        with open_channel(self.target, self._tls) as channel:
            stub = ingest_pb2_grpc.IngestStub(channel)
            try:
                welcome = stub.Handshake(
                    convert.hello_to_message(self.identity), timeout=self.config.call_timeout_s, wait_for_ready=False
                )
            except grpc.RpcError as error:
                raise self._why_closed(error) or error_from_call(error, self.target) from error
        self._terms = convert.welcome_from_message(welcome)
        return self._terms

    @property
    def terms(self) -> ServerTerms | None:
        """What the server said last; None before it has answered for the first time."""
        stream = self._stream
        if stream is not None and stream.terms is not None:
            self._terms = stream.terms
        return self._terms

    def run(self, outbox: SceneQueue) -> UploadReport:
        """Send until the outbox is empty.

        Raises:
            BackboneMismatchError, CodecRefusedError, VersionError: this vehicle may not send.
            ServerUnreachableError: no progress for `give_up_after_s`; what is left stays in the outbox.
        """
        self.drain()
        return self._run(outbox)

    def in_background(self, outbox: SceneQueue) -> BackgroundUpload:
        """Send from another thread until told to finish; a context manager."""
        return BackgroundUpload(lambda: self._run(outbox), self.drain, self.stop)

    def drain(self) -> None:
        """End once the outbox is empty."""
        self._drain.set()
        self._wake.set()
        stream = self._stream
        if stream is not None:
            stream.drain()

    def stop(self) -> None:
        """End soon, whatever is left; a stopped uploader stays stopped."""
        self._stop.set()
        self._wake.set()

    def report(self) -> UploadReport:
        """What was done so far."""
        return self._tally.report()

    def _run(self, outbox: SceneQueue) -> UploadReport:
        failures, progress, patience = 0, self._tally.progress, Patience(self.config.give_up_after_s, self._clock_s)
        while not self._stop.is_set():
            if outbox.next_pending() is None:
                if self._drain.is_set():
                    break
                self._wait_for_scene(outbox)  # without a connection, for nothing is at stake
                failures = 0
                continue
            pause_s, error = self._round(outbox)
            if self._tally.progress != progress:
                failures, progress = 0, self._tally.progress
                patience.renew()
            elif error is None and outbox.next_pending() is not None and not self._stop.is_set():
                error = ServerUnreachableError(f"{self.target} ends every stream before it has taken anything")
            if error is None:
                continue
            failures += 1
            if self._drain.is_set():
                patience.check(error)
            delay_s = self._backoff.delay_s(failures, asked_s=pause_s)
            logger.info("upload waits", extra={"delay_s": delay_s, "failures": failures})
            self._wait(self._stop, delay_s)
        return self.report()

    def _wait_for_scene(self, outbox: SceneQueue) -> None:
        unsubscribe = outbox.subscribe(self._wake.set)
        try:
            if outbox.next_pending() is None:
                self._wake.wait()
            self._wake.clear()
        finally:
            unsubscribe()

    def _round(self, outbox: SceneQueue) -> tuple[float, UpcycleError | None]:
        """One stream, or none where nothing could go over it."""
        closed = self._gate.closed()
        if closed is not None:
            return closed.seconds, OperatorError(closed.closed)
        return self._send_once(outbox)

    def _send_once(self, outbox: SceneQueue) -> tuple[float, UpcycleError | None]:
        """Use one stream as long as it lasts: how long the server asks to wait, and the passing error that ended it.

        Raises:
            UpcycleError: one that does not pass by itself.
        """
        config = self.config
        stream = UploadStream(
            self.identity,
            outbox,
            self._tally,
            config.max_in_flight,
            config.max_attempts,
            gate=self._gate,
            clock_s=self._clock_s,
        )
        self._tally.streams += 1
        self._stream = stream
        if self._drain.is_set():
            stream.drain()
        unsubscribe = outbox.subscribe(stream.notify_pending)
        try:
            with open_channel(self.target, self._tls) as channel:
                call = ingest_pb2_grpc.IngestStub(channel).Upload(stream.messages())
                failure = UploadCall(self.target, stream, call, config, self._clock_s, self._stop.is_set).follow()
        finally:
            unsubscribe()
            self._terms, self._stream = stream.terms or self._terms, None
            stream.end()
        if not isinstance(failure, grpc.RpcError):
            if failure is None or isinstance(failure, ServerUnreachableError):
                return stream.pause_s, failure or stream.pause_reason
            raise failure  # this side's own: a disk, or an answer that makes no sense
        error = error_from_call(failure, self.target)
        if not _passes(error):
            raise error from failure
        why = None if self._tls is None else self._why_closed(failure)
        if why is not None:  # passes all the same: files are replaced on either side while vehicles drive
            logger.warning("%s", why)
            error = ServerUnreachableError(str(why))
        return retry_after_ms(failure) / 1000, error

    def _why_closed(self, failure: grpc.RpcError) -> UpcycleError | None:
        """What about the certificates keeps the connection from being made; None where it is something else."""
        is_answered = retry_after_ms(failure) > 0
        return None if is_answered or failure.code() is not _UNAVAILABLE else explain(self.target, self._tls)


def _passes(error: UpcycleError) -> bool:
    """Whether a stream that the server ended with `error` may fare better later."""
    return isinstance(error, OperatorError | IntegrityError) or type(error) is UpcycleError
