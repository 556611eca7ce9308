"""One drive: a dataset replayed, its scenes made by the pipeline and sent by the uploader at the same time."""

from __future__ import annotations

import logging
import time
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from shared_models.datasets import open_dataset
from shared_models.errors import ServerUnreachableError
from shared_models.records import check
from vehicle_client.extractor import Extractor, ExtractorConfig, VehicleDetector
from vehicle_client.heartbeat import beat
from vehicle_client.outbox import Outbox
from vehicle_client.pipeline import Pipeline, PipelineConfig
from vehicle_client.report import FrameReport, RejectedFrame, drive_report
from vehicle_client.sensors.replay import ReplayConfig, ReplaySensor
from vehicle_client.uploader import Uploader, UploaderConfig, UploadReport, VehicleIdentity

logger = logging.getLogger(__name__)

Outcome = FrameReport | RejectedFrame
Progress = Callable[[Outcome, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class DriveConfig:
    """What is driven, as whom, and where to.

    server: HOST:PORT of the ingest service.
    dataset, root, split: the frames, see `shared_models.datasets.open_dataset`; simulated ones need no folder.
    vehicle_id: name under which the scenes are sent.
    state: folder for the outbox and the kept detections.
    codecs: each frame is sent once with each.
    guard: what is done to the features before they are encoded.
    give_up_after_s: seconds without any progress of the upload after which the drive ends with an error; what was not
        sent stays in the outbox.
    """

    server: str
    root: Path | None = None
    dataset: str = "kitti"
    split: str = "all"
    vehicle_id: str = "vehicle"
    state: Path = Path("state/vehicle")
    codecs: tuple[str, ...] = ("float32",)
    guard: str = "none"
    give_up_after_s: float = 60.0
    replay: ReplayConfig = field(default_factory=ReplayConfig)
    extractor: ExtractorConfig = field(default_factory=ExtractorConfig)

    def __post_init__(self) -> None:
        check.name("DriveConfig", "vehicle_id", self.vehicle_id)

    def world(self) -> dict[str, Any]:
        """Settings of simulated data where none are given: streets that follow from the vehicle's name."""
        return {"seed": zlib.crc32(self.vehicle_id.encode())}

    def pipeline(self) -> PipelineConfig:
        """The pipeline's part of this configuration."""
        return PipelineConfig(
            vehicle_id=self.vehicle_id,
            codecs=self.codecs,
            guard=self.guard,
            detections_folder=self.state / "detections",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DriveResult:
    """What became of each frame and of the upload; `upload` is None where the drive was stopped early."""

    outcomes: tuple[Outcome, ...]
    upload: UploadReport | None

    @property
    def is_complete(self) -> bool:
        """Every frame was used and every scene is stored on the server."""
        was_read = all(isinstance(outcome, FrameReport) for outcome in self.outcomes)
        return was_read and self.upload is not None and not self.upload.refusals

    def report(self, config: DriveConfig, about: dict[str, Any]) -> dict[str, Any]:
        """Everything about the drive, ready for JSON; `about` describes the detector."""
        return drive_report(
            {
                "vehicle_id": config.vehicle_id,
                "dataset": config.dataset,
                "split": config.split,
                "codecs": list(config.codecs),
                **about,
                "is_complete": self.is_complete,
                "upload": None if self.upload is None else _upload_report(self.upload),
            },
            self.outcomes,
        )


def _greet(uploader: Uploader) -> None:
    """Learn at once that the server refuses this vehicle; a server that is away may come back during the drive."""
    try:
        uploader.handshake()
    except ServerUnreachableError as error:
        logger.warning("the server does not answer yet, scenes wait in the outbox: %s", error)


def _upload_report(upload: UploadReport) -> dict[str, Any]:
    refusals = [{"scene_id": r.scene_id, "frame_id": r.frame_id, "reason": str(r.error)} for r in upload.refusals]
    return {**asdict(replace(upload, refusals=())), "refusals": refusals}


class Drive:
    """Opens everything at once, so that a wrong argument or a refusing server is known before the first frame."""

    def __init__(self, config: DriveConfig, detector: VehicleDetector) -> None:
        """Raises:
        CallerError: dataset, codec or another argument is wrong.
        """
        self._config = config
        self._extractor = Extractor(detector, config.extractor)
        self._pipeline_config = config.pipeline()
        dataset = open_dataset(config.dataset, config.root, config.split, config.world())
        self.sensor = ReplaySensor(dataset, config.replay)

    def run(self, on_outcome: Progress = lambda outcome, waiting: None) -> DriveResult:
        """Replay, extract, encode and send everything; blocks until the server has it all, or Ctrl-C.

        on_outcome: called after each frame with what became of it and the number of scenes not yet delivered.

        Raises:
            ServerUnreachableError: no progress for `give_up_after_s`; what was not sent waits in the outbox.
            BackboneMismatchError, VersionError, CodecRefusedError: the server refuses this vehicle.
            StorageFullError, StorageError: outbox or detections cannot be kept on this machine.
        """
        config = self._config
        identity = VehicleIdentity(
            vehicle_id=config.vehicle_id,
            backbone_hash=self._extractor.backbone_hash,
            split_layer=self._extractor.split_layer,
            codecs=config.codecs,
        )
        uploader = Uploader(config.server, identity, UploaderConfig(give_up_after_s=config.give_up_after_s))
        _greet(uploader)
        beat(config.state, time.time())
        outcomes: list[Outcome] = []
        with Outbox(config.state / "outbox") as outbox, uploader.in_background(outbox) as background:
            pipeline = Pipeline(self._extractor, outbox, self._pipeline_config)
            try:
                for outcome in pipeline.run(self.sensor.readings()):
                    outcomes.append(outcome)
                    beat(config.state, time.time())
                    background.check()
                    on_outcome(outcome, outbox.counts().pending)
                upload = background.finish()
            except KeyboardInterrupt:
                return DriveResult(outcomes=tuple(outcomes), upload=None)
        return DriveResult(outcomes=tuple(outcomes), upload=upload)
