"""How often, and how much, each vehicle may begin: two token buckets for each, kept only while they are not full."""

from __future__ import annotations

from collections import OrderedDict

from server.ingest.limits import LimitsConfig
from server.ingest.refusals import TryLaterError

_ROUNDING = 1e-9


class Bucket:
    """Tokens that come in steadily up to a limit. It starts full; times are seconds of a clock that never goes back."""

    __slots__ = ("_at_s", "_burst", "_rate_s", "_tokens")

    def __init__(self, rate_s: float, burst: float, now_s: float) -> None:
        self._rate_s, self._burst, self._tokens, self._at_s = rate_s, burst, burst, now_s

    def wait_s(self, count: float, now_s: float) -> float:
        """Seconds until `count` may be taken; what is more than the burst goes when the bucket is full."""
        missing = min(count, self._burst) - self._level(now_s)
        return missing / self._rate_s if missing > _ROUNDING else 0.0

    def take(self, count: float, now_s: float) -> None:
        """Take `count`, or give back where it is negative."""
        self._tokens, self._at_s = min(self._burst, self._level(now_s) - count), now_s

    def _level(self, now_s: float) -> float:
        return min(self._burst, self._tokens + (now_s - self._at_s) * self._rate_s)


class VehicleRates:
    """Scenes and bytes per second of each vehicle."""

    def __init__(self, config: LimitsConfig) -> None:
        self._config = config
        self._buckets: OrderedDict[str, tuple[Bucket | None, Bucket | None]] = OrderedDict()

    def take(self, vehicle_id: str, size: int, now_s: float) -> None:
        """Count one scene of `size` bytes.

        Raises:
            TryLaterError: too soon; nothing was counted.
        """
        if not (self._config.vehicle_scenes_s or self._config.vehicle_bytes_s):
            return
        scenes, payload = self._of(vehicle_id, now_s)
        for bucket, count, limit in ((scenes, 1, "scene_rate"), (payload, size, "byte_rate")):
            wait_s = bucket.wait_s(count, now_s) if bucket else 0.0
            if wait_s:
                what = "scenes" if limit == "scene_rate" else "bytes"
                raise TryLaterError(f"this vehicle sends more {what} per second than it may: slow down", wait_s, limit)
        for bucket, count in ((scenes, 1), (payload, size)):
            if bucket:
                bucket.take(count, now_s)

    def give_back(self, vehicle_id: str, size: int, now_s: float) -> None:
        """So many bytes of the scene that was counted last need not be sent."""
        _, payload = self._buckets.get(vehicle_id, (None, None))
        if payload:
            payload.take(-size, now_s)

    def _of(self, vehicle_id: str, now_s: float) -> tuple[Bucket | None, Bucket | None]:
        config, found = self._config, self._buckets.get(vehicle_id)
        if found is None:
            found = (
                _bucket(config.vehicle_scenes_s, config.vehicle_burst_scenes, now_s),
                _bucket(config.vehicle_bytes_s, config.vehicle_burst_bytes, now_s),
            )
            self._buckets[vehicle_id] = found
            if len(self._buckets) > config.vehicles_remembered:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(vehicle_id)
        return found


def _bucket(rate_s: float, burst: float, now_s: float) -> Bucket | None:
    return Bucket(rate_s, burst, now_s) if rate_s else None
