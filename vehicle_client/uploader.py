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
A refused scene is kept aside with the outbox's dead letters and listed in `report.refusals`; it blocks no other.

`run`, `handshake`, `check` and `finish` raise `BackboneMismatchError`, `VersionError` or `CodecRefusedError` when the
server refuses this vehicle, `run` and `finish` also `ServerUnreachableError` after `give_up_after_s` without progress
(None: never). While scenes are still made, a server may be away for any time: they wait in the outbox.
`Outbox.counts()` -> `OutboxCounts(pending, pending_bytes, delivered, dead, evicted, dead_dropped)`.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc

from protos import convert
from protos.policy import ServerTerms, VehicleIdentity
from protos.status import error_from_call, retry_after_ms
from protos.v1 import ingest_pb2_grpc
from shared_models.errors import (
    IntegrityError,
    InvalidValueError,
    OperatorError,
    ServerUnreachableError,
    UpcycleError,
)
from vehicle_client.channel import open_channel
from vehicle_client.diagnosis import explain
from vehicle_client.tls import TlsFiles
from vehicle_client.upload_stream import NoLimit, Refusal, SceneQueue, SendingGate, Tally, UploadStream

__all__ = ["BackgroundUpload", "Refusal", "UploadReport", "Uploader", "UploaderConfig", "VehicleIdentity"]

logger = logging.getLogger(__name__)

_UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
_TICK_S = 0.2  # how often a running stream is looked at for stop, stall and end


@dataclass(frozen=True, slots=True, kw_only=True)
class UploaderConfig:
    """How patient the uploader is.

    max_in_flight: scenes under way at once; the server's limit counts too.
    max_attempts: times that one scene is sent again after a damaged transfer before it is given up.
    first_delay_s, max_delay_s: wait after the first failure, doubled each time up to the largest; half of it is random.
    stall_s: an answer that takes longer counts as a broken connection.
    call_timeout_s: for a handshake.
    give_up_after_s: once nothing more comes (`run`, `finish`), raise after so long without any progress; None: never.
    """

    max_in_flight: int = 4
    max_attempts: int = 5
    first_delay_s: float = 0.2
    max_delay_s: float = 30.0
    stall_s: float = 60.0
    call_timeout_s: float = 10.0
    give_up_after_s: float | None = 120.0

    def __post_init__(self) -> None:
        if self.max_in_flight < 1 or self.max_attempts < 1:
            raise InvalidValueError(f"UploaderConfig: expected max_in_flight and max_attempts >= 1, got {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadReport:
    """What an uploader did.

    stored: scenes that this uploader sent and the server stored.
    already_stored: scenes that the server had, so that nothing was sent.
    refusals: scenes given up, the latest of them; refused: how many in all.
    payload_bytes, chunks: sent, repetitions included.
    streams: connections that were used, 1 where nothing went wrong.
    """

    stored: int
    already_stored: int
    refusals: tuple[Refusal, ...]
    payload_bytes: int
    chunks: int
    streams: int
    refused: int = 0


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
        self._clock_s, self._wait, self._random_unit = clock_s, wait, random_unit
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
        return BackgroundUpload(self, outbox)

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
        tally = self._tally
        return UploadReport(
            stored=tally.stored,
            already_stored=tally.already_stored,
            refusals=tuple(tally.refusals),
            payload_bytes=tally.payload_bytes,
            chunks=tally.chunks,
            streams=tally.streams,
            refused=tally.refused,
        )

    def _run(self, outbox: SceneQueue) -> UploadReport:
        failures, progress, patience = 0, self._tally.progress, _Patience(self.config.give_up_after_s, self._clock_s)
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
            delay_s = max(pause_s, self._delay_s(failures))
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
            self.identity, outbox, self._tally, config.max_in_flight, config.max_attempts, gate=self._gate
        )
        self._tally.streams += 1
        self._stream = stream
        if self._drain.is_set():
            stream.drain()
        unsubscribe = outbox.subscribe(stream.notify_pending)
        try:
            with open_channel(self.target, self._tls) as channel:
                call = ingest_pb2_grpc.IngestStub(channel).Upload(stream.messages())
                failure = self._follow(stream, call)
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

    def _follow(self, stream: UploadStream, call: Any) -> grpc.RpcError | UpcycleError | None:
        """Take answers in until the stream ends; what ended it, None where it ended well."""
        ended: list[grpc.RpcError | UpcycleError | None] = []
        reader = threading.Thread(target=lambda: ended.append(_read(stream, call)), name="upload-answers", daemon=True)
        reader.start()
        activity, since_s = stream.activity, self._clock_s()
        stalled: ServerUnreachableError | None = None
        while reader.is_alive():
            reader.join(_TICK_S)
            if stream.activity != activity or not stream.is_busy:
                activity, since_s = stream.activity, self._clock_s()
            if self._clock_s() - since_s > self.config.stall_s:
                stalled = ServerUnreachableError(f"{self.target} has not answered for {self.config.stall_s:.0f} s")
            if stalled or self._stop.is_set():
                call.cancel()
        if self._stop.is_set():
            return None
        return stalled or stream.failure or ended[0]

    def _delay_s(self, failures: int) -> float:
        full_s = min(self.config.max_delay_s, self.config.first_delay_s * 2.0 ** min(failures - 1, 30))
        return full_s * (0.5 + 0.5 * self._random_unit())

    def _why_closed(self, failure: grpc.RpcError) -> UpcycleError | None:
        """What about the certificates keeps the connection from being made; None where it is something else."""
        is_answered = retry_after_ms(failure) > 0
        return None if is_answered or failure.code() is not _UNAVAILABLE else explain(self.target, self._tls)


class _Patience:
    """How long failures may go on; the time runs from the first one that is checked."""

    def __init__(self, limit_s: float | None, clock_s: Callable[[], float]) -> None:
        self._limit_s, self._clock_s = limit_s, clock_s
        self._since_s: float | None = None

    def renew(self) -> None:
        self._since_s = None

    def check(self, error: UpcycleError) -> None:
        """Raises ServerUnreachableError: they went on for too long."""
        self._since_s = self._clock_s() if self._since_s is None else self._since_s
        waited_s = self._clock_s() - self._since_s
        if self._limit_s is not None and waited_s >= self._limit_s:
            raise ServerUnreachableError(f"gave up after {waited_s:.0f} s without progress: {error}") from error


class BackgroundUpload:
    """An uploader in a thread of its own; made by `Uploader.in_background`."""

    def __init__(self, uploader: Uploader, outbox: SceneQueue) -> None:
        self._uploader, self._outbox = uploader, outbox
        self._error: UpcycleError | None = None
        self._report: UploadReport | None = None
        self._thread = threading.Thread(target=self._work, name="uploader", daemon=True)

    def __enter__(self) -> BackgroundUpload:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._uploader.stop()
        self._thread.join()

    def check(self) -> None:
        """Raise what ended the sending thread, if anything did."""
        if self._error is not None:
            raise self._error

    def finish(self) -> UploadReport:
        """Wait until the outbox is empty; raises what `Uploader.run` raises."""
        self._uploader.drain()
        self._thread.join()
        self.check()
        if self._report is None:
            raise UpcycleError("the sending thread ended unexpectedly, see its traceback; the outbox has what is left")
        return self._report

    def _work(self) -> None:
        try:
            self._report = self._uploader._run(self._outbox)
        except UpcycleError as error:
            logger.warning("upload ended: %s", error)
            self._error = error


def _read(stream: UploadStream, call: Any) -> grpc.RpcError | UpcycleError | None:
    try:
        for response in call:
            stream.receive(response)
    except grpc.RpcError as error:
        return error
    except UpcycleError as error:
        call.cancel()
        return error
    finally:
        stream.end()
    return None


def _passes(error: UpcycleError) -> bool:
    """Whether a stream that the server ended with `error` may fare better later."""
    return isinstance(error, OperatorError | IntegrityError) or type(error) is UpcycleError
