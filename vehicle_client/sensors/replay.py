"""A recorded dataset played as if it were a LiDAR."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from shared_models.dataset import Dataset
from shared_models.errors import ConfigError, DatasetError, InvalidValueError
from vehicle_client.sensors.reading import Reading


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayConfig:
    """How a dataset is played.

    rate_hz: scans per second; 0 plays as fast as they are taken. A scan is never skipped, only late.
    shard_index, shard_count: this vehicle plays every `shard_count`-th frame, beginning with number `shard_index`.
    passes: how often the frames are played; 0 repeats them until stopped. With other than one pass each scan gets
        the time at which it is played, so that every pass makes new scenes.
    """

    rate_hz: float = 0.0
    shard_index: int = 0
    shard_count: int = 1
    passes: int = 1

    def __post_init__(self) -> None:
        if not (math.isfinite(self.rate_hz) and self.rate_hz >= 0):
            raise ConfigError(f"ReplayConfig.rate_hz: expected 0 or more, got {self.rate_hz}")
        if not 0 <= self.shard_index < self.shard_count:
            raise ConfigError(
                f"ReplayConfig: expected a shard from 0/{self.shard_count} on and below "
                f"{self.shard_count}/{self.shard_count}, got {self.shard_index}/{self.shard_count}"
            )
        if self.passes < 0:
            raise ConfigError(f"ReplayConfig.passes: expected 0 or more, got {self.passes}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """Time as the replay sees it; tests pass their own.

    monotonic_s: seconds from any start. now_ns: nanoseconds since the epoch. wait_s: returns after so many seconds.
    """

    monotonic_s: Callable[[], float] = time.perf_counter
    now_ns: Callable[[], int] = time.time_ns
    wait_s: Callable[[float], None] = time.sleep


class ReplaySensor:
    """Plays a dataset's frames in order. A frame that cannot be read becomes a reading with its error."""

    def __init__(self, dataset: Dataset, config: ReplayConfig | None = None, clock: Clock | None = None) -> None:
        self._dataset = dataset
        self._config = config or ReplayConfig()
        self._clock = clock or Clock()
        self._frame_ids = dataset.frame_ids[self._config.shard_index :: self._config.shard_count]

    def __len__(self) -> int:
        """Scans to come in all passes; those of one pass where the replay repeats without end."""
        return len(self._frame_ids) * (self._config.passes or 1)

    def readings(self) -> Iterator[Reading]:
        """Each scan when it is due."""
        start_s = self._clock.monotonic_s()
        for index, frame_id in enumerate(self._played_ids()):
            reading = self._read(frame_id)
            reading = replace(reading, late_s=self._wait_until_due(start_s, index))
            yield reading if self._config.passes == 1 else self._stamped(reading)

    def _played_ids(self) -> Iterator[str]:
        played = 0
        while self._frame_ids and (played < self._config.passes or not self._config.passes):
            yield from self._frame_ids
            played += 1

    def _read(self, frame_id: str) -> Reading:
        started_s = self._clock.monotonic_s()
        try:
            frame = self._dataset.frame(frame_id)
        except (DatasetError, InvalidValueError) as error:
            return Reading(frame_id=frame_id, error=error)
        return Reading(frame_id=frame_id, frame=frame, read_s=self._clock.monotonic_s() - started_s)

    def _stamped(self, reading: Reading) -> Reading:
        if reading.frame is None:
            return reading
        return replace(reading, frame=replace(reading.frame, timestamp_ns=self._clock.now_ns()))

    def _wait_until_due(self, start_s: float, index: int) -> float:
        if not self._config.rate_hz:
            return 0.0
        early_s = start_s + index / self._config.rate_hz - self._clock.monotonic_s()
        if early_s > 0:
            self._clock.wait_s(early_s)
        return max(0.0, -early_s)
