"""One drive: a dataset replayed, its scenes made by the pipeline and sent by the uploader at the same time."""

from __future__ import annotations

import logging
import time
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from protos.policy import Limits
from shared_models.datasets import open_dataset
from shared_models.errors import ConfigError, ServerUnreachableError
from shared_models.records import check
from vehicle_client.extractor import Extractor, ExtractorConfig, VehicleDetector
from vehicle_client.heartbeat import beat
from vehicle_client.kept_name import check_name, keep_name
from vehicle_client.outbox import Outbox
from vehicle_client.pipeline import Pipeline, PipelineConfig
from vehicle_client.report import DriveLog, FrameReport, RejectedFrame, drive_report
from vehicle_client.sensors.replay import ReplayConfig, ReplaySensor
from vehicle_client.uploader import BackgroundUpload, Uploader, UploaderConfig, UploadReport, VehicleIdentity

logger = logging.getLogger(__name__)

Outcome = FrameReport | RejectedFrame
Progress = Callable[[Outcome, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class DriveConfig:
    """What is driven, as whom, and where to.

    server: HOST:PORT of the ingest service.
    dataset, root, split: the frames, see `shared_models.datasets.open_dataset`; simulated ones need no folder.
    vehicle_id: name under which the scenes are sent; the state folder keeps it and is this vehicle's from then on.
    state: folder for the outbox and the kept detections.
    codecs: each frame is sent once with each.
    guard: what is done to the features before they are encoded.
    give_up_after_s: seconds without any progress of the upload after the last frame, after which the drive ends with an
        error; what was not sent stays in the outbox. While frames come, a server may be away for any time.
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

    log: DriveLog
    upload: UploadReport | None

    @property
    def is_complete(self) -> bool:
        """Every frame was used and every scene is stored on the server."""
        return not self.log.rejected and self.upload is not None and not self.upload.refusals

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
            self.log,
        )


def _greet(uploader: Uploader, codecs: tuple[str, ...]) -> Limits | None:
    """Learn at once that the server refuses this vehicle or one of its codecs, and the limits that it sets.

    A server that is away may come back during the drive.
    """
    try:
        policy = uploader.handshake().policy
    except ServerUnreachableError as error:
        logger.warning("the server does not answer yet, scenes wait in the outbox: %s", error)
        return None
    for codec in codecs:
        policy.check_codec(codec)  # every one: each frame is sent with each
    return policy.limits


def _claim(config: DriveConfig, outbox: Outbox) -> None:
    """Make the state folder this vehicle's own.

    Raises:
        ConfigError: it is another vehicle's, or scenes of another one wait there.
    """
    waiting = outbox.next_pending()
    if waiting is not None and waiting.vehicle_id != config.vehicle_id:
        raise ConfigError(
            f"{config.state}: scenes of vehicle {waiting.vehicle_id!r} wait there, which the server would refuse from "
            f"{config.vehicle_id!r}: drive as {waiting.vehicle_id!r}, or give another state folder"
        )
    keep_name(config.state, config.vehicle_id)


def _too_large(outcome: Outcome, limits: Limits | None) -> bool:
    if limits is None or not isinstance(outcome, FrameReport):
        return False
    return any(scene.payload_bytes > limits.max_payload_bytes for scene in outcome.scenes)


def _upload_report(upload: UploadReport) -> dict[str, Any]:
    refusals = [{"scene_id": r.scene_id, "frame_id": r.frame_id, "reason": str(r.error)} for r in upload.refusals]
    return {**asdict(replace(upload, refusals=())), "refusals": refusals}


class Drive:
    """Opens everything at once, so that a wrong argument or a refusing server is known before the first frame."""

    def __init__(self, config: DriveConfig, detector: VehicleDetector) -> None:
        """Raises:
        CallerError: dataset, codec or another argument is wrong, or the state folder is another vehicle's.
        """
        check_name(config.state, config.vehicle_id)
        self._config = config
        self._extractor = Extractor(detector, config.extractor)
        self._pipeline_config = config.pipeline()
        dataset = open_dataset(config.dataset, config.root, config.split, config.world(), with_labels=False)
        self.sensor = ReplaySensor(dataset, config.replay)

    def run(self, on_outcome: Progress = lambda outcome, waiting: None) -> DriveResult:
        """Replay, extract, encode and send everything; blocks until the server has it all, or Ctrl-C.

        on_outcome: called after each frame with what became of it and the number of scenes not yet delivered.

        Raises:
            ServerUnreachableError: after the last frame, no progress for `give_up_after_s`; what was not sent waits.
            BackboneMismatchError, VersionError, CodecRefusedError: the server refuses it, or one of its codecs.
            ConfigError: the state folder is another vehicle's.
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
        limits = _greet(uploader, config.codecs)
        log = DriveLog()
        with Outbox(config.state / "outbox") as outbox:
            _claim(config, outbox)
            beat(config.state, time.time())
            with uploader.in_background(outbox) as background:
                upload = self._drive(outbox, background, limits, log, on_outcome)
        return DriveResult(log=log, upload=upload)

    def _drive(
        self, outbox: Outbox, background: BackgroundUpload, limits: Limits | None, log: DriveLog, on_outcome: Progress
    ) -> UploadReport | None:
        """Every frame, then the rest of the upload; None where it was stopped."""
        is_warned = False
        try:
            for outcome in Pipeline(self._extractor, outbox, self._pipeline_config).run(self.sensor.readings()):
                log.add(outcome)
                beat(self._config.state, time.time())
                background.check()
                if not is_warned and _too_large(outcome, limits):
                    logger.warning("scenes are larger than the server takes, it will refuse them: use a smaller codec")
                    is_warned = True
                on_outcome(outcome, outbox.counts().pending)
            return background.finish()
        except KeyboardInterrupt:
            return None
