"""All upload streams of a server: how many each vehicle may have, how patient the server is, and how they end."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from server.ingest.limits import LimitsConfig
from server.ingest.metrics import IngestMetrics
from server.ingest.refusals import TryLaterError, stopping
from server.ingest.session import UploadSession
from server.ingest.slow_streams import SlowStreamConfig

logger = logging.getLogger(__name__)

_FAULTS = {
    "stalled": "nothing came for too long although scenes are open: begin them again, they go on where they were",
    "trickle": "chunks come too slowly: begin the scenes again, they go on where they were",
}


class OpenStreams:
    """The streams that have said hello; lives in the server's event loop."""

    def __init__(
        self,
        limits: LimitsConfig,
        slow: SlowStreamConfig,
        metrics: IngestMetrics,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits, self._slow, self._metrics, self._clock_s = limits, slow, metrics, clock_s
        self._of_vehicle: dict[str, list[UploadSession]] = {}
        self._count, self._is_draining = 0, False
        metrics.open_streams.set_function(self.__len__)

    def __len__(self) -> int:
        return self._count  # asked from the metrics' thread too

    def check_room(self, other_streams: int) -> None:
        """Raises TryLaterError: the server is stopping, or has as many streams as it takes."""
        if self._is_draining:
            raise stopping()
        if self._limits.streams and other_streams >= self._limits.streams:
            raise TryLaterError(f"{other_streams} streams are open, the most allowed: try again later", 5.0, "streams")

    @contextmanager
    def holding(self, session: UploadSession) -> Iterator[None]:
        """Count `session` inside. The oldest stream of the same vehicle has to go where it has too many.

        It is most often a dead connection: a refusal of the new one would lock the vehicle out until TCP notices.
        """
        if self._is_draining:
            raise stopping()
        own = self._of_vehicle.setdefault(session.vehicle_id, [])
        staying = [each for each in own if not each.is_ended]
        if self._limits.vehicle_streams and len(staying) >= self._limits.vehicle_streams:
            error = TryLaterError("a newer stream of this vehicle took its place", 1.0, "streams")
            self._end(staying[0], "taken_over", error)
        own.append(session)
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1
            own.remove(session)
            if not own and self._of_vehicle.get(session.vehicle_id) is own:
                del self._of_vehicle[session.vehicle_id]

    def patrol(self) -> None:
        """End the streams that are too slow."""
        now_s = self._clock_s()
        for session in [each for own in self._of_vehicle.values() for each in own]:
            fault = session.fault(self._slow, now_s)
            if fault == "idle":
                self._end(session, fault, None)
            elif fault is not None:
                self._end(session, fault, TryLaterError(_FAULTS[fault], 1.0, "slow"))

    async def patrol_regularly(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Look at all streams every `check_s` until cancelled."""
        while True:
            await sleep(self._slow.check_s)
            self.patrol()

    def drain(self) -> None:
        """The server stops: each stream ends as soon as its open scenes are answered."""
        self._is_draining = True
        for own in self._of_vehicle.values():
            for session in own:
                session.drain(stopping())

    def _end(self, session: UploadSession, cause: str, error: TryLaterError | None) -> None:
        if session.end(error):
            self._metrics.streams_ended.labels(cause).inc()
            logger.info("stream ended", extra={"cause": cause, "vehicle": session.tag})
