"""How patient an uploader is."""

from __future__ import annotations

from dataclasses import dataclass

from shared_models.errors import InvalidValueError


@dataclass(frozen=True, slots=True, kw_only=True)
class UploaderConfig:
    """How patient the uploader is.

    max_in_flight: scenes under way at once; the server's limit counts too.
    max_attempts: times that one scene is sent again after a damaged transfer before it is given up.
    first_delay_s, max_delay_s: wait after the first failure, doubled each time up to the largest; half of it is random.
    max_asked_s: the longest wait that a server may ask for.
    stall_s: a server that owes an answer and is silent for so long counts as a broken connection.
    answer_s: so does one that owes the answer for one scene for so long, whatever else it answers; the scene is
        tried again after all others.
    call_timeout_s: for a handshake.
    give_up_after_s: once nothing more comes (`run`, `finish`), raise after so long without any progress; None: never.
    """

    max_in_flight: int = 8
    max_attempts: int = 5
    first_delay_s: float = 0.2
    max_delay_s: float = 30.0
    max_asked_s: float = 3600.0
    stall_s: float = 60.0
    answer_s: float = 300.0
    call_timeout_s: float = 10.0
    give_up_after_s: float | None = 120.0

    def __post_init__(self) -> None:
        if self.max_in_flight < 1 or self.max_attempts < 1:
            raise InvalidValueError(f"UploaderConfig: expected max_in_flight and max_attempts >= 1, got {self}")
        if not 0 < self.first_delay_s <= self.max_delay_s:
            raise InvalidValueError(f"UploaderConfig: expected 0 < first_delay_s <= max_delay_s, got {self}")
        if min(self.max_asked_s, self.stall_s, self.answer_s, self.call_timeout_s) <= 0:
            raise InvalidValueError(
                f"UploaderConfig: expected max_asked_s, stall_s, answer_s and call_timeout_s > 0, got {self}"
            )
