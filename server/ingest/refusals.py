"""Refusals that pass by themselves, with the time after which it makes sense to come back."""

from __future__ import annotations

from dataclasses import replace

from protos.status import Status, status_of
from shared_models.errors import ServerUnreachableError, UpcycleError


class TryLaterError(ServerUnreachableError):
    """Not now, for a limit is reached; on the wire it is REASON_TRY_LATER with its own waiting time.

    retry_after_ms: how long to wait at least.
    limit: which limit it was, one of `server.ingest.metrics.LIMITS`.
    """

    def __init__(self, message: str, retry_after_s: float, limit: str) -> None:
        super().__init__(message)
        self.retry_after_ms, self.limit = max(1, round(retry_after_s * 1000)), limit


class UnreadError(TryLaterError):
    """The other side does not read what it is told, so that it cannot be told this either."""

    def __init__(self) -> None:
        super().__init__("the vehicle does not read its answers", 1.0, "slow")


def refusal_status(error: UpcycleError) -> Status:
    """As `status_of`, with the waiting time of the error itself where it has one."""
    status = status_of(error)
    return replace(status, retry_after_ms=error.retry_after_ms) if isinstance(error, TryLaterError) else status


def stopping() -> TryLaterError:
    """What everybody is told while the server stops."""
    return TryLaterError("the server is stopping: come back in a moment", 1.0, "stopping")
