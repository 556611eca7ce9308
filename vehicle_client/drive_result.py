"""What became of a drive."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from protos.report import VehicleReport
from shared_models.guards.watch import GuardWatch
from vehicle_client.drive_config import DriveConfig
from vehicle_client.report import DriveLog, drive_report
from vehicle_client.upload_tally import UploadReport


@dataclass(frozen=True, slots=True, kw_only=True)
class DriveResult:
    """What became of each frame and of the upload; `upload` is None where the drive was stopped early.

    bandwidth, selection: their own reports, None where there is none of them.
    guard: the last one that was applied, and how many scenes it changed.
    outbox: what waits, and what became of all others since the outbox was made.
    dropped_scenes: those of this drive that had to go because the outbox was full.
    """

    log: DriveLog
    upload: UploadReport | None
    bandwidth: dict[str, Any] | None = None
    selection: dict[str, Any] | None = None
    guard: GuardWatch | None = None
    outbox: VehicleReport = field(default_factory=VehicleReport)
    dropped_scenes: int = 0

    @property
    def is_complete(self) -> bool:
        """Every frame was used and every scene is stored on the server."""
        is_sent = self.upload is not None and not self.upload.refusals and not self.dropped_scenes
        return is_sent and not self.log.rejected

    def report(self, config: DriveConfig, about: dict[str, Any]) -> dict[str, Any]:
        """Everything about the drive, ready for JSON; `about` describes the detector."""
        return drive_report(
            {
                "vehicle_id": config.vehicle_id,
                "dataset": config.dataset,
                "split": config.split,
                "codecs": list(config.codecs),
                "region": config.region,
                **about,
                "is_complete": self.is_complete,
                "upload": None if self.upload is None else _upload_report(self.upload),
                "bandwidth": self.bandwidth,
                "selection": self.selection,
                "guard": None if self.guard is None else _guard_report(self.guard),
                "outbox": {**asdict(self.outbox), "dropped_in_this_drive": self.dropped_scenes},
            },
            self.log,
        )


def _guard_report(watch: GuardWatch) -> dict[str, Any]:
    return {"guard": watch.guard.described(), "frames": watch.scenes, "frames_changed": watch.changed}


def _upload_report(upload: UploadReport) -> dict[str, Any]:
    refusals = [{"scene_id": r.scene_id, "frame_id": r.frame_id, "reason": str(r.error)} for r in upload.refusals]
    return {**asdict(replace(upload, refusals=())), "refusals": refusals}
