"""One upload stream as the vehicle sees it: which message comes next, and what each answer changes.

Two threads meet here: gRPC's own, which asks for the next message, and the reader of answers. No network, no clock.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from protos import convert
from protos.policy import ServerTerms, VehicleIdentity
from protos.status import error_from_reason
from protos.v1 import ingest_pb2 as pb
from shared_models.errors import IntegrityError, NotFoundError, OperatorError, ProtocolError, UpcycleError
from shared_models.records import EncodedScene, SceneManifest

if TYPE_CHECKING:
    from vehicle_client.bandwidth import Wait

KEPT_REFUSALS = 1000


class SceneQueue(Protocol):
    """What the uploader needs of the outbox."""

    def next_pending(self, exclude: frozenset[str] = ...) -> SceneManifest | None:
        """The scene to send next, leaving out the ids in `exclude`."""

    def load(self, scene_id: str) -> EncodedScene:
        """That scene with its payload; IntegrityError where it is damaged, NotFoundError where it is gone."""

    def mark_delivered(self, scene_id: str) -> bool:
        """The server has it."""

    def mark_dead(self, scene_id: str, reason: str) -> bool:
        """The server will never take it."""

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` after each new scene; returns what ends that."""


class SendingGate(Protocol):
    """What the uploader needs of the bandwidth."""

    def ask(self, size: int) -> Wait | None:
        """Whether a chunk of so many bytes may go now; None: yes, and it counts as sent."""

    def closed(self) -> Wait | None:
        """Why nothing can go for a long time; None where a chunk may be asked for."""


class NoLimit(SendingGate):
    """Everything may go at once."""

    def ask(self, size: int) -> Wait | None:
        return None

    def closed(self) -> Wait | None:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A scene that was given up: dead-lettered, never blocking others."""

    scene_id: str
    frame_id: str
    error: UpcycleError


class Tally:
    """What an uploader has done so far; counts over all of its streams. Of the refusals the latest are kept."""

    def __init__(self) -> None:
        self.stored = self.already_stored = self.refused = self.chunks = self.payload_bytes = self.streams = 0
        self.refusals: deque[Refusal] = deque(maxlen=KEPT_REFUSALS)
        self.attempts: dict[str, int] = {}  # refusals so far of scenes that will be tried again
        self.offsets: dict[str, int] = {}  # where the server went on with scenes that are not stored yet
        self.progress = 0  # grows whenever the server has got further


@dataclass(slots=True)
class _Sending:
    scene: EncodedScene
    chunks: Iterator[pb.Chunk] | None = None  # None until the server says where to start
    held: pb.Chunk | None = None  # made, and may not go yet
    is_finished: bool = False

    def next_chunk(self) -> pb.Chunk | None:
        chunk, self.held = self.held or (None if self.chunks is None else next(self.chunks, None)), None
        return chunk


class UploadStream:
    """The state of one stream. `condition` guards everything; it is notified when something may go on."""

    def __init__(
        self,
        identity: VehicleIdentity,
        queue: SceneQueue,
        tally: Tally,
        max_in_flight: int,
        max_attempts: int,
        gate: SendingGate | None = None,
        wait: Callable[[threading.Condition, float], object] = threading.Condition.wait,
    ) -> None:
        """`gate` is asked before each chunk; `wait` is replaced in tests only."""
        self.condition = threading.Condition()
        self.terms: ServerTerms | None = None
        self.is_draining = False  # half-close once nothing is left
        self.is_over = False
        self.failure: UpcycleError | None = None  # an error of our own side, found while making messages
        self.activity = 0  # grows with each message in either direction
        self.pause_s = 0.0  # asked for by the server: end this stream and wait so long
        self.pause_reason: UpcycleError | None = None
        self._identity, self._queue, self._tally = identity, queue, tally
        self._max_in_flight, self._max_attempts = max_in_flight, max_attempts
        self._open: dict[str, _Sending] = {}
        self._credit: int | None = None
        self._may_have_pending = True
        self._gate, self._wait = gate or NoLimit(), wait
        self._throttle_s: float | None = None  # the next chunk may not go yet
        self._is_closed = False  # nor any other for a long time

    @property
    def is_busy(self) -> bool:
        """Whether the server owes an answer; not where it waits for a chunk that may not go yet."""
        with self.condition:
            if self._throttle_s is None:
                return bool(self._open) or self.terms is None
            return any(sending.chunks is None or sending.is_finished for sending in self._open.values())

    def notify_pending(self) -> None:
        """A scene was put into the queue."""
        with self.condition:
            self._may_have_pending = True
            self.condition.notify_all()

    def drain(self) -> None:
        """End the stream once nothing is left."""
        with self.condition:
            self.is_draining = True
            self.condition.notify_all()

    def end(self) -> None:
        """No more messages."""
        with self.condition:
            self.is_over = True
            self.condition.notify_all()

    def messages(self) -> Iterator[pb.UploadRequest]:
        """Everything to send, in order; blocks while there is nothing. Runs in gRPC's thread."""
        yield pb.UploadRequest(hello=convert.hello_to_message(self._identity))
        while not self.is_over:
            try:
                message = self._next_message()
            except UpcycleError as error:
                self.failure = error
                self.end()
                return
            if message is None:
                return
            self.activity += 1
            yield message

    def receive(self, response: pb.UploadResponse) -> None:
        """Take one answer in.

        Raises:
            ProtocolError: it makes no sense.
            StorageError: the queue does not answer.
        """
        with self.condition:
            self.activity += 1
            match response.WhichOneof("message"):
                case "welcome":
                    self.terms = convert.welcome_from_message(response.welcome)
                    self._credit = self.terms.credit_bytes or None
                case "credit":
                    if self._credit is not None:
                        self._credit += response.credit.bytes
                case "scene":
                    self._receive_answer(response.scene)
            self.condition.notify_all()

    def _next_message(self) -> pb.UploadRequest | None:
        while True:
            with self.condition:
                message = self._continue_open()
                if message is not None:
                    return message
                if self.is_over or self._is_done():
                    return None
                may_begin = self._may_begin()
                if not may_begin:
                    self._wait(self.condition, 1.0 if self._throttle_s is None else self._throttle_s)
            if may_begin:
                message = self._begin_next()  # reads the disk, so without the lock
                if message is not None:
                    return message

    def _is_done(self) -> bool:
        if self.terms is None:
            return False
        if self._open:
            return self._is_closed and not self.is_busy  # what is half sent goes on in another stream
        return bool(self.pause_s) or (self.is_draining and not self._may_have_pending)

    def _may_begin(self) -> bool:
        if self.terms is None or not self._may_have_pending or self.pause_s or self._throttle_s is not None:
            return False
        return len(self._open) < min(self._max_in_flight, self.terms.policy.limits.max_scenes_in_flight)

    def _begin_next(self) -> pb.UploadRequest | None:
        with self.condition:
            self._may_have_pending = False  # before looking, so that a scene put meanwhile sets it again
            taken = frozenset(self._open)
        manifest = self._queue.next_pending(taken)
        if manifest is None:
            return None
        try:
            scene = self._queue.load(manifest.scene_id)
        except IntegrityError as error:
            self._give_up(manifest, error)
            scene = None
        except NotFoundError:
            scene = None  # evicted meanwhile
        with self.condition:
            self._may_have_pending = True
            if scene is None:
                return None
            self._open[manifest.scene_id] = _Sending(scene=scene)
        return pb.UploadRequest(begin=convert.begin_to_message(manifest))

    def _continue_open(self) -> pb.UploadRequest | None:
        """The next chunk or finish of a scene that the server waits for."""
        self._throttle_s, self._is_closed = None, False
        if self._credit is not None and self._credit <= 0:
            return None
        for scene_id, sending in self._open.items():
            if sending.chunks is None or sending.is_finished:
                continue
            chunk = sending.next_chunk()
            if chunk is None:
                sending.is_finished = True
                return pb.UploadRequest(finish=pb.FinishScene(scene_id=bytes.fromhex(scene_id)))
            if not self._may_go(len(chunk.data)):
                sending.held = chunk
                continue  # another one may only have to be finished
            self._open[scene_id] = self._open.pop(scene_id)  # to the end: scenes take turns
            self._tally.chunks += 1
            self._tally.payload_bytes += len(chunk.data)
            if self._credit is not None:
                self._credit -= len(chunk.data)
            return pb.UploadRequest(chunk=chunk)
        return None

    def _may_go(self, size: int) -> bool:
        """Ask the gate, once in each round; a closed one ends the stream when the server has answered."""
        if self._throttle_s is not None:
            return False
        wait = self._gate.ask(size)
        if wait is None:
            return True
        self._throttle_s = wait.seconds
        if wait.closed is not None:
            self._is_closed = True
            self.pause_s = max(self.pause_s, wait.seconds)
            self.pause_reason = OperatorError(wait.closed)
        return False

    def _receive_answer(self, answer: pb.SceneAnswer) -> None:
        scene_id = answer.scene_id.hex()
        sending = self._open.get(scene_id)
        if sending is None or self.terms is None:
            raise ProtocolError(f"the server answered for scene {scene_id[:12]}, which is not under way")
        match answer.WhichOneof("answer"):
            case "send_from":
                offset, chunk_bytes = answer.send_from.offset, self.terms.policy.limits.max_chunk_bytes
                sending.chunks = convert.chunks_of(sending.scene, chunk_bytes, offset)
                self._tally.progress += offset > self._tally.offsets.get(scene_id, 0)
                self._tally.offsets[scene_id] = offset
            case "stored":
                self._queue.mark_delivered(scene_id)
                self._tally.already_stored += answer.stored.was_already_stored
                self._tally.stored += not answer.stored.was_already_stored
                self._close(scene_id)
                self._settle(scene_id)
            case "refused":
                self._close(scene_id)
                self._receive_refusal(sending.scene.manifest, answer.refused)

    def _receive_refusal(self, manifest: SceneManifest, refused: pb.Refused) -> None:
        error = error_from_reason(refused.reason, refused.message)
        if not refused.may_retry:
            self._give_up(manifest, error)
        elif isinstance(error, OperatorError) or type(error) is UpcycleError:
            self.pause_s = max(self.pause_s, refused.retry_after_ms / 1000, 0.001)
            self.pause_reason = error
        else:
            attempts = self._tally.attempts.get(manifest.scene_id, 0) + 1
            self._tally.attempts[manifest.scene_id] = attempts
            if attempts >= self._max_attempts:
                self._give_up(manifest, error)

    def _close(self, scene_id: str) -> None:
        del self._open[scene_id]
        self._may_have_pending = True

    def _settle(self, scene_id: str) -> None:
        self._tally.progress += 1
        self._tally.attempts.pop(scene_id, None)
        self._tally.offsets.pop(scene_id, None)

    def _give_up(self, manifest: SceneManifest, error: UpcycleError) -> None:
        self._queue.mark_dead(manifest.scene_id, f"{type(error).__name__}: {error}")
        self._settle(manifest.scene_id)
        self._tally.refused += 1
        self._tally.refusals.append(Refusal(scene_id=manifest.scene_id, frame_id=manifest.frame_id, error=error))
