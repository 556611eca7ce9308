"""How long to wait after failures, and for how long failures may go on. No sleeping and no wall clock here."""

from __future__ import annotations

from collections.abc import Callable

from shared_models.errors import ServerUnreachableError, UpcycleError

_MAX_DOUBLINGS = 60  # beyond every largest delay; keeps the power within a float


class Backoff:
    """Delays that double from `first_s` up to `max_s`, half of each random, so that a fleet does not come at once."""

    def __init__(self, first_s: float, max_s: float, max_asked_s: float, random_unit: Callable[[], float]) -> None:
        """`random_unit` gives numbers from 0 to 1."""
        self._first_s, self._max_s, self._max_asked_s, self._random_unit = first_s, max_s, max_asked_s, random_unit

    def delay_s(self, failures: int, asked_s: float = 0.0) -> float:
        """Seconds to wait after so many failures in a row (1 is the first); not less than the server asks for.

        Of what it asks for at most `max_asked_s` counts, so that a wrong number does not silence a vehicle for weeks.
        """
        full_s = min(self._max_s, self._first_s * 2.0 ** min(failures - 1, _MAX_DOUBLINGS))
        return max(min(asked_s, self._max_asked_s), full_s * (0.5 + 0.5 * self._random_unit()))


class Patience:
    """How long failures may go on; the time runs from the first one that is checked."""

    def __init__(self, limit_s: float | None, clock_s: Callable[[], float]) -> None:
        """`limit_s` None: for ever. `clock_s` never goes back."""
        self._limit_s, self._clock_s = limit_s, clock_s
        self._since_s: float | None = None

    def renew(self) -> None:
        """There was progress."""
        self._since_s = None

    def check(self, error: UpcycleError) -> None:
        """Raises ServerUnreachableError: they went on for too long."""
        self._since_s = self._clock_s() if self._since_s is None else self._since_s
        waited_s = self._clock_s() - self._since_s
        if self._limit_s is not None and waited_s >= self._limit_s:
            raise ServerUnreachableError(f"gave up after {waited_s:.0f} s without progress: {error}") from error
