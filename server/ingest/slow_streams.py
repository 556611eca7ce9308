"""How slow a stream may be before it is ended, so that vehicles that are gone, or play dead, hold nothing."""

from __future__ import annotations

from dataclasses import dataclass, fields

from shared_models.errors import InvalidValueError


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowStreamConfig:
    """Patience with one stream, in seconds; 0 waits for ever. Only time that the server waits for the vehicle counts.

    A chunk counts when the whole of it is there: at 256 KiB and the defaults, 900 bytes per second are still enough.

    idle_s: without a scene and without a message; then the stream ends with OK.
    stalled_s: without a message although scenes are open; then it ends with REASON_TRY_LATER, and what came is kept.
    min_bytes_s: payload bytes per second, over `window_s`, that come while scenes are open; fewer end it likewise.
    window_s: over how long that is measured; it begins anew whenever no scene is open.
    write_s: for an answer that the vehicle does not read.
    check_s: between two looks at all streams.
    """

    idle_s: float = 600.0
    stalled_s: float = 300.0
    min_bytes_s: float = 512.0
    window_s: float = 300.0
    write_s: float = 60.0
    check_s: float = 2.0

    def __post_init__(self) -> None:
        for each in fields(self):
            if not 0 <= getattr(self, each.name) < 1e9:
                raise InvalidValueError(
                    f"SlowStreamConfig.{each.name}: expected 0 to 1e9, got {getattr(self, each.name)}"
                )
        if self.check_s == 0 or self.window_s == 0:
            raise InvalidValueError(f"SlowStreamConfig: expected check_s and window_s above 0, got {self}")


@dataclass(slots=True)
class Waiting:
    """What one stream's reader leaves behind for whoever looks at its pace; times are seconds of one clock.

    since_s: since when the server waits for a message; None while it works on one.
    received_bytes: chunk data so far.
    """

    since_s: float | None = None
    received_bytes: int = 0
    window_since_s: float | None = None
    window_bytes: int = 0

    def fault(self, config: SlowStreamConfig, now_s: float, is_open: bool, is_finishing: bool) -> str | None:
        """ "idle", "stalled" or "trickle" where patience is over; None where it is not.

        is_open: scenes wait for chunks. is_finishing: scenes wait for the server.
        """
        if self.since_s is None or not is_open:
            self.window_since_s = None  # the server works, or owes the vehicle something
        if self.since_s is None:
            return None
        waited_s = now_s - self.since_s
        if not is_open:
            return "idle" if not is_finishing and 0 < config.idle_s <= waited_s else None
        if 0 < config.stalled_s <= waited_s:
            return "stalled"
        return "trickle" if self._trickles(config, now_s) else None

    def _trickles(self, config: SlowStreamConfig, now_s: float) -> bool:
        if self.window_since_s is None:
            self.window_since_s, self.window_bytes = now_s, self.received_bytes
        passed_s, came = now_s - self.window_since_s, self.received_bytes - self.window_bytes
        if passed_s < config.window_s:
            return False
        self.window_since_s, self.window_bytes = now_s, self.received_bytes
        return came < config.min_bytes_s * passed_s
