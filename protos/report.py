"""What a vehicle tells the operator about the scenes that wait in it."""

from __future__ import annotations

from dataclasses import dataclass, fields

from shared_models.errors import InvalidValueError

_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class VehicleReport:
    """Counts of one vehicle's spool; all but the first two since the spool was made, restarts included.

    pending_scenes, pending_bytes: waiting now, and their payloads.
    evicted_scenes, evicted_bytes: dropped because the spool was full, and their payloads.
    given_up_scenes: refused for good, or damaged on the vehicle's disk.
    delivered_scenes: stored by a server.

    Raises:
        InvalidValueError: a number is negative or above 2^63 - 1.
    """

    pending_scenes: int = 0
    pending_bytes: int = 0
    evicted_scenes: int = 0
    evicted_bytes: int = 0
    given_up_scenes: int = 0
    delivered_scenes: int = 0

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if not 0 <= value <= _MAX:
                raise InvalidValueError(f"VehicleReport.{each.name}: expected 0 to 2^63 - 1, got {value}")
