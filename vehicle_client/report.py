"""What a drive did: counts, bytes and times, as records and as JSON."""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from shared_models.errors import StorageError

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


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedFrame:
    """One frame that could not be used, and why."""

    frame_id: str
    reason: str


def drive_report(about: dict[str, Any], outcomes: Sequence[FrameReport | RejectedFrame]) -> dict[str, Any]:
    """Everything about a drive, ready for JSON; `about` comes first and describes vehicle, detector and upload."""
    frames = [outcome for outcome in outcomes if isinstance(outcome, FrameReport)]
    rejected = [outcome for outcome in outcomes if isinstance(outcome, RejectedFrame)]
    return {
        **about,
        "frames_used": len(frames),
        "frames_rejected": len(rejected),
        "frames_late": sum(frame.late_s > 0 for frame in frames),
        "scenes": sum(len(frame.scenes) for frame in frames),
        "raw_bytes": sum(frame.raw_bytes for frame in frames),
        "payload_bytes": payload_bytes(frames),
        "stage_seconds": stage_seconds(frames),
        "peak_memory_bytes": peak_memory_bytes(),
        "frames": [asdict(frame) for frame in frames],
        "rejected": [asdict(frame) for frame in rejected],
    }


def payload_bytes(frames: Sequence[FrameReport]) -> dict[str, int]:
    """Bytes of all payloads, by codec."""
    totals: dict[str, int] = {}
    for scene in (scene for frame in frames for scene in frame.scenes):
        totals[scene.codec] = totals.get(scene.codec, 0) + scene.payload_bytes
    return totals


def stage_seconds(frames: Sequence[FrameReport]) -> dict[str, dict[str, float]]:
    """Median and largest time of each stage, in seconds; encoding and storing by codec."""
    samples: dict[str, list[float]] = {}
    for frame in frames:
        for stage in FRAME_STAGES:
            samples.setdefault(stage.removesuffix("_s"), []).append(getattr(frame, stage))
        for scene in frame.scenes:
            for stage in SCENE_STAGES:
                samples.setdefault(f"{stage.removesuffix('_s')} {scene.codec}", []).append(getattr(scene, stage))
    return {stage: {"median": median(values), "max": max(values)} for stage, values in samples.items()}


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
