"""What a drive did: counts, bytes and times, as records and as JSON."""

from __future__ import annotations

import json
import resource
import sys
from collections import deque
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from shared_models.errors import StorageError

MAX_LISTED = 10_000  # frames that a report lists, the latest; a drive may have no end
FRAME_STAGES = ("read_s", "extract_s", "detect_s", "guard_s")
SCENE_STAGES = ("encode_s", "put_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneReport:
    """One scene that was put into the outbox; seconds for encoding and for making it durable."""

    scene_id: str
    codec: str
    payload_bytes: int
    encode_s: float
    put_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameReport:
    """One frame that was used: its size, its scenes (one a codec), and seconds per stage.

    points: number of LiDAR points; raw_bytes: their size as float32. cells: active cells of the split layer.
    selected_by: why the selection sent it; not_selected: why it did not, and then there are no scenes; both None
        without a selection. score: what it was worth to the selection, 0 to 1; None without one.
    """

    frame_id: str
    points: int
    raw_bytes: int
    cells: int
    scenes: tuple[SceneReport, ...]
    detections_file: str | None
    read_s: float
    late_s: float
    extract_s: float
    detect_s: float
    guard_s: float
    selected_by: str | None = None
    not_selected: str | None = None
    score: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedFrame:
    """One frame that could not be used, and why."""

    frame_id: str
    reason: str


class DriveLog:
    """What became of the frames of a drive: counts over all of them, and the latest `max_listed` themselves."""

    def __init__(self, outcomes: Iterable[FrameReport | RejectedFrame] = (), max_listed: int = MAX_LISTED) -> None:
        self.listed: deque[FrameReport | RejectedFrame] = deque(maxlen=max_listed)
        self.used = self.rejected = self.late = self.scenes = self.raw_bytes = 0
        self.payload_bytes: dict[str, int] = {}
        self.selected_by: dict[str, int] = {}  # frames by the rule that sent them
        self.not_selected: dict[str, int] = {}  # frames by the rule that did not
        self._longest_s: dict[str, float] = {}
        for outcome in outcomes:
            self.add(outcome)

    def add(self, outcome: FrameReport | RejectedFrame) -> None:
        """Take in the next frame's outcome."""
        self.listed.append(outcome)
        if isinstance(outcome, RejectedFrame):
            self.rejected += 1
            return
        self.used += 1
        self.late += outcome.late_s > 0
        self.scenes += len(outcome.scenes)
        self.raw_bytes += outcome.raw_bytes
        for counts, reason in ((self.selected_by, outcome.selected_by), (self.not_selected, outcome.not_selected)):
            if reason is not None:
                counts[reason] = counts.get(reason, 0) + 1
        for scene in outcome.scenes:
            self.payload_bytes[scene.codec] = self.payload_bytes.get(scene.codec, 0) + scene.payload_bytes
        for stage, seconds in _stages(outcome):
            self._longest_s[stage] = max(seconds, self._longest_s.get(stage, seconds))

    @property
    def selected(self) -> int:
        """Frames that were sent; without a selection all that were used."""
        return self.used - sum(self.not_selected.values())

    def frames(self) -> list[FrameReport]:
        """Listed frames that were used."""
        return [outcome for outcome in self.listed if isinstance(outcome, FrameReport)]

    def rejections(self) -> list[RejectedFrame]:
        """Listed frames that could not be used."""
        return [outcome for outcome in self.listed if isinstance(outcome, RejectedFrame)]

    def stage_seconds(self) -> dict[str, dict[str, float]]:
        """Seconds of each stage, encoding and storing by codec: the median of listed frames, the largest of all."""
        samples: dict[str, list[float]] = {}
        for frame in self.frames():
            for stage, seconds in _stages(frame):
                samples.setdefault(stage, []).append(seconds)
        return {stage: {"median": median(s), "max": self._longest_s[stage]} for stage, s in samples.items()}


def _stages(frame: FrameReport) -> list[tuple[str, float]]:
    own = [(stage.removesuffix("_s"), getattr(frame, stage)) for stage in FRAME_STAGES]
    scenes = [
        (f"{stage.removesuffix('_s')} {scene.codec}", getattr(scene, stage))
        for scene in frame.scenes
        for stage in SCENE_STAGES
    ]
    return own + scenes


def drive_report(about: dict[str, Any], log: DriveLog) -> dict[str, Any]:
    """Everything about a drive, ready for JSON; `about` comes first and describes vehicle, detector and upload.

    Counts are of all frames; `frames` and `rejected` are of the latest `frames_listed` ones.
    """
    return {
        **about,
        "frames_used": log.used,
        "frames_rejected": log.rejected,
        "frames_late": log.late,
        "frames_listed": len(log.listed),
        "frames_selected": log.selected,
        "selected_by": log.selected_by,
        "not_selected": log.not_selected,
        "scenes": log.scenes,
        "raw_bytes": log.raw_bytes,
        "payload_bytes": log.payload_bytes,
        "stage_seconds": log.stage_seconds(),
        "peak_memory_bytes": peak_memory_bytes(),
        "frames": [asdict(frame) for frame in log.frames()],
        "rejected": [asdict(frame) for frame in log.rejections()],
    }


def peak_memory_bytes() -> int:
    """The most memory that this process has held so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def write_report(path: Path, report: dict[str, Any]) -> None:
    """Write a report as JSON.

    Raises:
        StorageError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror}; check space and permissions") from error
