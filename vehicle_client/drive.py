"""One drive: a dataset replayed, its scenes made by the pipeline and sent by the uploader at the same time."""

from __future__ import annotations

import logging
import time
import zlib
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from protos.policy import Policy
from shared_models.datasets import open_dataset
from shared_models.errors import ConfigError, ServerUnreachableError
from shared_models.records import check
from vehicle_client.bandwidth import AUTO, Bandwidth, BandwidthConfig
from vehicle_client.bandwidth import FILE_NAME as BANDWIDTH_FILE
from vehicle_client.extractor import Extractor, ExtractorConfig, VehicleDetector
from vehicle_client.heartbeat import beat
from vehicle_client.kept_name import check_name, keep_name
from vehicle_client.outbox import Outbox
from vehicle_client.pipeline import Pipeline, PipelineConfig
from vehicle_client.report import DriveLog, FrameReport, RejectedFrame, drive_report
from vehicle_client.selections import selection_of
from vehicle_client.selector import FILE_NAME as SELECTION_FILE
from vehicle_client.selector import Selector
from vehicle_client.sensors.replay import ReplayConfig, ReplaySensor
from vehicle_client.tls import TlsFiles
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
    codecs: each frame is sent once with each; "auto" alone chooses one by what is left of the link's daily budget.
    guard: what is done to the features before they are encoded.
    give_up_after_s: seconds without any progress of the upload after the last frame, after which the drive ends with an
        error; what was not sent stays in the outbox. While frames come, a server may be away for any time.
    bandwidth: rates and budgets of the links; None: not limited, not counted.
    tls: the vehicle's certificate and whom it believes; None: no encryption.
    select: which frames are sent, see `vehicle_client.selections.from_mapping`; None: all.
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
    bandwidth: BandwidthConfig | None = None
    tls: TlsFiles | None = None
    select: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        check.name("DriveConfig", "vehicle_id", self.vehicle_id)
        if AUTO in self.codecs and (self.codecs != (AUTO,) or self.bandwidth is None):
            raise ConfigError(
                "codec auto: it stands alone and needs a link (--link cellular,daily_bytes=..., or --bandwidth FILE), "
                f"got {', '.join(self.codecs)}"
            )

    def possible_codecs(self) -> tuple[str, ...]:
        """All codecs that a scene of this drive may have."""
        if self.bandwidth is None or self.codecs != (AUTO,):
            return self.codecs
        return tuple(dict.fromkeys(name for table in self.bandwidth.codec_tables().values() for name in table))

    def check_policy(self, policy: Policy) -> None:
        """Raises CodecRefusedError: the server refuses a codec of this drive; with auto, all those of one link."""
        if self.bandwidth is not None and self.codecs == (AUTO,):
            for table in self.bandwidth.codec_tables().values():
                policy.check_codec(*table)
            return
        for codec in self.codecs:
            policy.check_codec(codec)  # every one: each frame is sent with each

    def world(self) -> dict[str, Any]:
        """Settings of simulated data where none are given: streets that follow from the vehicle's name."""
        return {"seed": zlib.crc32(self.vehicle_id.encode())}

    def pipeline(self) -> PipelineConfig:
        """The pipeline's part of this configuration."""
        return PipelineConfig(
            vehicle_id=self.vehicle_id,
            codecs=self.possible_codecs(),
            guard=self.guard,
            detections_folder=self.state / "detections",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DriveResult:
    """What became of each frame and of the upload; `upload` is None where the drive was stopped early.

    bandwidth, selection: their own reports, None where there is none of them.
    """

    log: DriveLog
    upload: UploadReport | None
    bandwidth: dict[str, Any] | None = None
    selection: dict[str, Any] | None = None

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
                "bandwidth": self.bandwidth,
                "selection": self.selection,
            },
            self.log,
        )


def _greet(uploader: Uploader, config: DriveConfig) -> Policy | None:
    """Learn at once that the server refuses this vehicle or one of its codecs, and what it accepts.

    A server that is away may come back during the drive.
    """
    try:
        policy = uploader.handshake().policy
    except ServerUnreachableError as error:
        logger.warning("the server does not answer yet, scenes wait in the outbox: %s", error)
        return None
    config.check_policy(policy)
    return policy


def _selector(config: DriveConfig) -> Selector[FrameReport] | None:
    """The configured selection.

    Raises:
        UnknownNameError, ConfigError: it is wrong, or needs detections and the vehicle makes none.
    """
    if config.select is None:
        return None
    selection, settings = selection_of(config.select)
    if "detections" in selection.needed() and not config.extractor.is_detecting:
        raise ConfigError(f"selection {selection.name}: it needs the vehicle's detections: leave out --no-detections")
    return Selector(selection, settings, config.state / SELECTION_FILE, config.select)


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


def _too_large(outcome: Outcome, policy: Policy | None) -> bool:
    if policy is None or not isinstance(outcome, FrameReport):
        return False
    return any(scene.payload_bytes > policy.limits.max_payload_bytes for scene in outcome.scenes)


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
        self._selector = _selector(config)
        self._bandwidth = None
        if config.bandwidth is not None:
            self._bandwidth = Bandwidth(config.bandwidth, config.state / BANDWIDTH_FILE)
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
            codecs=config.possible_codecs(),
        )
        patience = UploaderConfig(give_up_after_s=config.give_up_after_s)
        uploader = Uploader(config.server, identity, patience, gate=self._bandwidth, tls=config.tls)
        policy = _greet(uploader, config)
        log = DriveLog()
        with ExitStack() as opened:
            outbox = opened.enter_context(Outbox(config.state / "outbox"))
            _claim(config, outbox)
            beat(config.state, time.time())
            for part in (self._bandwidth, self._selector):  # their files are this process's while it has the outbox
                if part is not None:
                    opened.enter_context(part)
            pipeline = self._pipeline(outbox, uploader)
            with uploader.in_background(outbox) as background:
                upload = self._drive(pipeline, outbox, background, policy, log, on_outcome)
            return DriveResult(
                log=log,
                upload=upload,
                bandwidth=None if self._bandwidth is None else self._bandwidth.report(),
                selection=None if self._selector is None else self._selector.report(),
            )

    def _pipeline(self, outbox: Outbox, uploader: Uploader) -> Pipeline:
        bandwidth = self._bandwidth

        def choose_codec() -> str:
            terms = uploader.terms
            accepted = None if terms is None else terms.policy.codecs
            return bandwidth.codec(accepted, outbox.counts().pending_bytes) if bandwidth is not None else AUTO

        is_auto = self._config.codecs == (AUTO,)
        return Pipeline(
            self._extractor, outbox, self._pipeline_config, self._selector, choose_codec if is_auto else None
        )

    def _drive(
        self,
        pipeline: Pipeline,
        outbox: Outbox,
        background: BackgroundUpload,
        policy: Policy | None,
        log: DriveLog,
        on_outcome: Progress,
    ) -> UploadReport | None:
        """Every frame, then the rest of the upload; None where it was stopped."""
        is_warned = False
        try:
            for outcome in pipeline.run(self.sensor.readings()):
                log.add(outcome)
                beat(self._config.state, time.time())
                background.check()
                if not is_warned and _too_large(outcome, policy):
                    logger.warning("scenes are larger than the server takes, it will refuse them: use a smaller codec")
                    is_warned = True
                on_outcome(outcome, outbox.counts().pending)
            return background.finish()
        except KeyboardInterrupt:
            return None
