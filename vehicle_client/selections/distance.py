"""One frame in so many metres."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from shared_models.errors import InvalidValueError
from shared_models.records import Frame, check
from vehicle_client.selection import Candidate, Selection, Verdict, number_of

logger = logging.getLogger(__name__)

Position = tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class DistanceConfig:
    """How far to drive between two frames.

    metres: from one sent frame to the next, along the path.
    longest_step_m: frames that lie farther apart are of different drives; the first of a drive is selected.
    without_pose: of frames without a pose one in so many is selected; 0: none.
    """

    metres: float = 20.0
    longest_step_m: float = 100.0
    without_pose: int = 10

    def __post_init__(self) -> None:
        check.number("DistanceConfig", "metres", self.metres, 0.0, 1e9)
        check.number("DistanceConfig", "longest_step_m", self.longest_step_m, 0.0, 1e9)
        check.count("DistanceConfig", "without_pose", self.without_pose, 1_000_000_000, low=0)


class DistanceSelection(Selection):
    """Frames that lie `metres` or more of driven path behind the last one sent; needs `Frame.world_from_lidar`."""

    name: ClassVar[str] = "distance"
    config_class: ClassVar[type[Any]] = DistanceConfig

    def __init__(self, config: DistanceConfig) -> None:
        self._config = config
        self._at: Position | None = None
        self._driven_m: float | None = None  # since the last frame sent; None: none of this drive was
        self._without_pose = 0
        self._is_warned = False

    @property
    def has_scores(self) -> bool:
        return False

    def judge(self, candidate: Candidate) -> Verdict:
        at = _position(candidate.frame)
        if at is None:
            return self._judge_without_pose(candidate.frame)
        step_m = float("inf") if self._at is None else float(np.linalg.norm(np.subtract(at, self._at)))
        self._at = at
        if step_m > self._config.longest_step_m:
            self._driven_m = None
        elif self._driven_m is not None:
            self._driven_m += step_m
        if self._driven_m is None:
            return Verdict(is_selected=True, reason="distance: the first frame of a drive")
        is_far = self._driven_m >= self._config.metres
        return Verdict(is_selected=is_far, reason=f"distance: one frame in {self._config.metres:g} m")

    def accept(self, candidate: Candidate) -> None:
        if _position(candidate.frame) is not None:
            self._driven_m = 0.0

    def state(self) -> dict[str, Any]:
        at = None if self._at is None else list(self._at)
        return {"at": at, "driven_m": self._driven_m, "without_pose": self._without_pose}

    def restore(self, state: Mapping[str, Any]) -> None:
        without_pose = int(number_of(self.name, state, "without_pose"))
        at, driven_m = state.get("at"), None
        if at is not None and (not isinstance(at, list) or len(at) != 3 or not np.isfinite(at).all()):
            raise InvalidValueError(f"distance.at: expected three numbers in the saved state, got {at!r}")
        if state.get("driven_m") is not None:
            driven_m = float(number_of(self.name, state, "driven_m"))
        self._at = None if at is None else (float(at[0]), float(at[1]), float(at[2]))
        self._driven_m, self._without_pose = driven_m, without_pose

    def _judge_without_pose(self, frame: Frame) -> Verdict:
        every = self._config.without_pose
        if not self._is_warned:
            instead = f"one of {every} frames is selected instead" if every else "no such frame is selected"
            logger.warning("frame %s has no pose, so the distance is not known: %s", frame.frame_id, instead)
            self._is_warned = True
        position, self._without_pose = self._without_pose, (self._without_pose + 1) % max(1, every)
        return Verdict(is_selected=bool(every) and position == 0, reason=f"distance: no pose, one of {every} frames")


def _position(frame: Frame) -> Position | None:
    """Where the scan was taken, metres; None where that is not known."""
    if frame.world_from_lidar is None or not np.isfinite(frame.world_from_lidar[:3, 3]).all():
        return None
    x, y, z = (float(value) for value in frame.world_from_lidar[:3, 3])
    return x, y, z
