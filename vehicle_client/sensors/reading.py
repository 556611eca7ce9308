"""What a sensor hands over: a scan, or the reason why there is none."""

from __future__ import annotations

from dataclasses import dataclass

from shared_models.errors import InvalidValueError, UpcycleError
from shared_models.records import Frame


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One scan of a drive; exactly one of `frame` and `error` is set.

    frame_id: name of the frame, known even where it could not be read.
    read_s: seconds spent on reading and converting it.
    late_s: seconds after the moment at which the scan was due; 0 where no rate is set.
    """

    frame_id: str
    frame: Frame | None = None
    error: UpcycleError | None = None
    read_s: float = 0.0
    late_s: float = 0.0

    def __post_init__(self) -> None:
        if (self.frame is None) == (self.error is None):
            raise InvalidValueError(f"Reading {self.frame_id}: expected either a frame or an error")
