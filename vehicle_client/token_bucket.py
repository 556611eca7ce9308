"""A rate with bursts: tokens come in steadily up to a limit, each byte sent takes one. No clock of its own."""

from __future__ import annotations

_ROUNDING_BYTES = 1e-3  # less than this is missing only because seconds are rounded


class TokenBucket:
    """Starts full. Times are seconds of any clock that never goes back."""

    def __init__(self, rate_bytes_s: float | None, burst_bytes: int) -> None:
        """`rate_bytes_s` None is no limit. At most `burst_bytes` go at once after a pause."""
        self._rate_bytes_s, self._burst_bytes = rate_bytes_s, float(burst_bytes)
        self._tokens = self._burst_bytes
        self._at_s: float | None = None

    def wait_s(self, size: int, now_s: float) -> float:
        """Seconds until `size` bytes may go; 0: now.

        What is larger than the burst goes when the bucket is full, and the time after it pays for the rest.
        """
        if self._rate_bytes_s is None:
            return 0.0
        missing = min(float(size), self._burst_bytes) - self._level(now_s)
        return missing / self._rate_bytes_s if missing > _ROUNDING_BYTES else 0.0

    def take(self, size: int, now_s: float) -> None:
        """Send so many bytes now."""
        if self._rate_bytes_s is not None:
            self._tokens = self._level(now_s) - size
            self._at_s = now_s

    def _level(self, now_s: float) -> float:
        since_s = 0.0 if self._at_s is None or self._rate_bytes_s is None else max(0.0, now_s - self._at_s)
        return min(self._burst_bytes, self._tokens + since_s * (self._rate_bytes_s or 0.0))
