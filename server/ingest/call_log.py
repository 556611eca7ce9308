"""What the log of access says about calls that hand something out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from server.ingest.access import caller
from server.pki.identity import Role
from server.repositories.access_log import AccessLog, Action, Detail, Event

Work = Callable[[Callable[[], object]], Awaitable[object]]


class CallLog:
    """Logs on behalf of whoever makes the call of this task. A call that cannot be logged is refused."""

    def __init__(self, log: AccessLog, in_thread: Work, tag: Callable[[str], str], clock_ns: Callable[[], int]) -> None:
        """in_thread: runs blocking work off the event loop. tag: what the log calls a vehicle."""
        self._log, self._in_thread, self._tag, self._clock_ns = log, in_thread, tag, clock_ns

    async def record_overseer(self, action: Action, vehicle_id: str, detail: Detail) -> None:
        """Log what an operator or auditor asks about a vehicle; a vehicle's own questions are not logged.

        Raises:
            StorageFullError, StorageError: it cannot be logged.
        """
        peer = caller()
        if peer is not None and peer.identity.role in {Role.OPERATOR, Role.AUDITOR}:
            await self.record(action, "", {**detail, "vehicle": self._tag(vehicle_id)})

    async def record(self, action: Action, subject: str, detail: Detail) -> None:
        """Log what is handed out, before it is.

        Raises:
            StorageFullError, StorageError: it cannot be logged.
        """
        event = Event(at_ns=self._clock_ns(), actor=self.actor(), action=action, subject=subject, detail=detail)
        await self._in_thread(lambda: self._log.append([event]))

    def actor(self) -> str:
        """Whoever calls, a vehicle by its tag; `unknown` without TLS, where everybody can say any name."""
        peer = caller()
        if peer is None:
            return "unknown"
        identity = peer.identity
        return f"vehicle/{self._tag(identity.name)}" if identity.role is Role.VEHICLE else str(identity)
