"""Points in time as people write them at the command line."""

from __future__ import annotations

from datetime import UTC, datetime

from shared_models.errors import InvalidValueError


def parse_time_ns(text: str) -> int:
    """Nanoseconds since the epoch of an ISO 8601 date or time, UTC where no zone is given: 2026-01-31T12:30:00Z.

    Raises:
        InvalidValueError: no such date, or one before 1970.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidValueError(f"time: expected e.g. 2026-01-31 or 2026-01-31T12:30:00Z, got {text!r}") from error
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    since = moment - datetime.fromtimestamp(0, UTC)
    at_ns = (since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1000
    if at_ns < 0:
        raise InvalidValueError(f"time: expected one since 1970, got {text!r}")
    return at_ns
