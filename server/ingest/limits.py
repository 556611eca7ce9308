"""How much one vehicle, and all together, may ask of the server."""

from __future__ import annotations

from dataclasses import dataclass, fields

from shared_models.errors import InvalidValueError


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsConfig:
    """Limits of each vehicle and of the whole server; 0 means no limit everywhere.

    vehicle_stored_bytes: payload bytes stored of one vehicle, under all of its pseudonyms of the last five years.
    vehicle_day_bytes: payload bytes that are stored of one vehicle on one day (UTC).
    vehicle_scenes_s: scenes per second that one vehicle may begin in the long run.
    vehicle_burst_scenes: scenes that it may begin at once after a pause; at least 1 where `vehicle_scenes_s` is set.
    vehicle_bytes_s: payload bytes per second that it may begin in the long run.
    vehicle_burst_bytes: payload bytes that it may begin at once after a pause; a larger scene waits for a full bucket.
    vehicle_streams: upload streams that one vehicle may have open; a further one takes the place of the oldest.
    vehicle_half_sent_bytes: half-sent payloads of one vehicle; its own oldest are dropped beyond that.
    vehicles_remembered: vehicles whose rates, counts and last reports are in memory; those seen longest ago go first.
    streams: upload streams of all vehicles.
    calls: calls of any kind that are answered at the same time; further ones get RESOURCE_EXHAUSTED from gRPC itself.
    calls_per_connection: calls that one connection may have open at the same time; further ones wait in the client.
    connection_idle_s: seconds after which a connection without any call is closed.
    recount_s: seconds after which what is stored of a vehicle is counted anew, for scenes may have been removed.
    """

    vehicle_stored_bytes: int = 0
    vehicle_day_bytes: int = 0
    vehicle_scenes_s: float = 0.0
    vehicle_burst_scenes: int = 20
    vehicle_bytes_s: float = 0.0
    vehicle_burst_bytes: int = 64 << 20
    vehicle_streams: int = 4
    vehicle_half_sent_bytes: int = 1 << 30
    vehicles_remembered: int = 100_000
    streams: int = 4096
    calls: int = 8192
    calls_per_connection: int = 256
    connection_idle_s: float = 900.0
    recount_s: float = 600.0

    def __post_init__(self) -> None:
        for each in fields(self):
            if not 0 <= getattr(self, each.name) < 2**62:
                raise InvalidValueError(f"LimitsConfig.{each.name}: expected 0 or more, got {getattr(self, each.name)}")
        if self.vehicles_remembered < 1 or self.recount_s <= 0:
            raise InvalidValueError(f"LimitsConfig: expected vehicles_remembered and recount_s above 0, got {self}")
        if self.vehicle_scenes_s and self.vehicle_burst_scenes < 1:
            raise InvalidValueError("LimitsConfig.vehicle_burst_scenes: expected at least 1 where scenes are limited")
        if self.vehicle_bytes_s and self.vehicle_burst_bytes < 1:
            raise InvalidValueError("LimitsConfig.vehicle_burst_bytes: expected at least 1 where bytes are limited")
