"""Times and numbers as the JSON API writes them."""

from __future__ import annotations

import math
import time


def iso_time(at_ns: int) -> str | None:
    """Nanoseconds since the epoch as UTC, e.g. "2023-11-14T22:13:20Z"; None for 0, which stands for unknown."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at_ns // 10**9)) if at_ns else None


def finite(value: float) -> float | None:
    """`value`, or None where it is NaN or infinite, which JSON does not have."""
    return value if math.isfinite(value) else None
