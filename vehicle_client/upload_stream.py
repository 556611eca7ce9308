"""One upload stream as the vehicle sees it: which message comes next, and what each answer changes.

Two threads meet here: gRPC's own, which asks for the next message, and the reader of answers. No network; the clock is
only asked how long answers have been owed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

from protos import convert
from protos.policy import ServerTerms, VehicleIdentity
from protos.status import error_from_reason
from protos.v1 import ingest_pb2 as pb
from shared_models.errors import NotFoundError, OperatorError, ProtocolError, SenderError, UpcycleError
from shared_models.records import EncodedScene, SceneManifest
from vehicle_client.open_scenes import OpenScenes
from vehicle_client.report_sender import ReportSender
from vehicle_client.scene_queue import NoLimit, SceneQueue, SendingGate
from vehicle_client.upload_tally import Refusal, Tally
from vehicle_client.waiting_guard import check_waiting

_OPEN_BYTES = 32 << 20  # of payloads in memory, beyond which no other scene is begun


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
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """`gate` is asked before each chunk; `wait` is replaced in tests only. `clock_s` never goes back."""
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
        self._open = OpenScenes()
        self._reports = ReportSender(queue.report, clock_s)
        self._credit: int | None = None
        self._may_have_pending = True
        self._gate, self._wait, self._clock_s = gate or NoLimit(), wait, clock_s
        self._throttle_s: float | None = None  # the next chunk may not go yet
        self._is_closed = False  # nor any other for a long time

    @property
    def is_busy(self) -> bool:
        """Whether the server owes an answer; not where it waits for a chunk that may not go yet."""
        with self.condition:
            if self._throttle_s is None:
                return len(self._open) > 0 or self.terms is None
            return self._open.is_owed()

    def set_aside(self, after_s: float) -> list[str]:
        """Ids of scenes without an answer for longer than `after_s` seconds; others go before them from now on."""
        with self.condition:
            late = self._open.unanswered(self._clock_s() - after_s)
            self._tally.unanswered.update(late)
            return late

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
            report = None if self.terms is None else self._reports.due()  # reads the disk, so without the lock
            if report is not None:
                return report
            with self.condition:
                message = self._continue_open()
                if message is not None:
                    return message
                if self.is_over:
                    return None
                is_done, may_begin = self._is_done(), self._may_begin()
                if not is_done and not may_begin:
                    self._wait(self.condition, 1.0 if self._throttle_s is None else self._throttle_s)
            if is_done:
                return self._reports.closing()
            if may_begin:
                message = self._begin_next()  # reads the disk, so without the lock
                if message is not None:
                    return message

    def _is_done(self) -> bool:
        if self.terms is None:
            return False
        if len(self._open):
            return self._is_closed and not self._open.is_owed()  # what is half sent goes on in another stream
        return bool(self.pause_s) or (self.is_draining and not self._may_have_pending)

    def _may_begin(self) -> bool:
        if self.terms is None or not self._may_have_pending or self.pause_s or self._throttle_s is not None:
            return False
        if self._open.payload_bytes >= _OPEN_BYTES:
            return False
        if self._credit is not None and self._credit <= 0 and len(self._open):
            return False  # more comes with what is under way, and then the scene's data can go with its begin
        return len(self._open) < min(self._max_in_flight, self.terms.policy.limits.max_scenes_in_flight)

    def _begin_next(self) -> pb.UploadRequest | None:
        with self.condition:
            self._may_have_pending = False  # before looking, so that a scene put meanwhile sets it again
            taken, late = self._open.ids(), frozenset(self._tally.unanswered)
        manifest = self._queue.next_pending(taken | late)
        if manifest is None and late:
            manifest = self._queue.next_pending(taken)
        if manifest is None:
            return None
        scene = self._load(manifest)
        is_first = scene is not None and self._queue.note_begun(manifest.scene_id)
        with self.condition:
            self._may_have_pending = True
            if scene is None:
                return None
            scene_id = self._open.begin(scene, self._clock_s())
            data = self._ahead(scene) if is_first and self._is_news(scene_id) else b""
            self._tally.asked(scene_id)
        return pb.UploadRequest(begin=convert.begin_to_message(manifest, scene_id, data))

    def _is_news(self, scene_id: str) -> bool:
        """Whether a scene that this spool has not begun is most likely unknown to the server.

        Where frames are replayed it has them: it is asked at first, and for as long as it says so.
        """
        return self._tally.new_begins >= self._max_in_flight and scene_id not in self._tally.begun

    def _ahead(self, scene: EncodedScene) -> bytes:
        """What goes with the begin of a scene of which the server holds nothing: its first bytes."""
        terms = self.terms
        if terms is None or not terms.takes_data_in_begin or (self._credit is not None and self._credit <= 0):
            return b""
        data = scene.payload[: self._chunk_bytes(terms)]
        if not data or not self._may_go(len(data)):
            return b""
        self._went(len(data))
        return data

    def _chunk_bytes(self, terms: ServerTerms) -> int:
        return min(self._gate.chunk_bytes(), terms.policy.limits.max_chunk_bytes)

    def _went(self, size: int) -> None:
        self._tally.sent(size)
        if self._credit is not None:
            self._credit -= size

    def _load(self, manifest: SceneManifest) -> EncodedScene | None:
        try:
            scene = self._queue.load(manifest.scene_id)
            if self.terms is not None:
                check_waiting(scene, self.terms.policy)
            return scene
        except SenderError as error:
            self._give_up(manifest, error)
        except NotFoundError:
            pass  # evicted meanwhile
        return None

    def _continue_open(self) -> pb.UploadRequest | None:
        """The next chunk or finish of a scene that the server waits for."""
        self._throttle_s, self._is_closed = None, False
        if self._credit is not None and self._credit <= 0:
            return None
        for scene_id, sending in self._open.ready():
            chunk = sending.next_chunk()
            if chunk is None:
                sending.asked_s = self._clock_s()
                return pb.UploadRequest(finish=pb.FinishScene(scene_id=bytes.fromhex(scene_id)))
            size = len(chunk.data)  # each time that it is asked for, it is copied
            if not self._may_go(size):
                sending.held = chunk
                continue  # another one may only have to be finished
            self._open.took_turn(scene_id)
            self._went(size)
            if chunk.is_last:
                sending.asked_s = self._clock_s()
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
                chunk_bytes = self._chunk_bytes(self.terms)
                sending.start(answer.send_from.offset, chunk_bytes, self.terms.takes_data_in_begin)
                self._tally.started(scene_id, answer.send_from.offset)
            case "stored":
                self._queue.mark_delivered(scene_id)
                self._close(scene_id)
                self._tally.arrived(scene_id, answer.stored.was_already_stored)
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
        elif self._tally.tried(manifest.scene_id) >= self._max_attempts:
            self._give_up(manifest, error)

    def _close(self, scene_id: str) -> None:
        self._open.close(scene_id)
        self._may_have_pending = True

    def _give_up(self, manifest: SceneManifest, error: UpcycleError) -> None:
        self._queue.mark_dead(manifest.scene_id, f"{type(error).__name__}: {error}")
        self._tally.given_up(Refusal(scene_id=manifest.scene_id, frame_id=manifest.frame_id, error=error))
