"""One drive: a dataset replayed, its scenes made by the pipeline and sent by the uploader at the same time."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack

from protos.policy import Policy
from shared_models.datasets import open_dataset
from shared_models.errors import ConfigError, ServerUnreachableError
from vehicle_client.bandwidth import AUTO, Bandwidth
from vehicle_client.bandwidth import FILE_NAME as BANDWIDTH_FILE
from vehicle_client.drive_config import DriveConfig
from vehicle_client.drive_guard import DriveGuard
from vehicle_client.drive_result import DriveResult
from vehicle_client.extractor import Extractor, VehicleDetector
from vehicle_client.heartbeat import beat
from vehicle_client.kept_name import check_name, keep_name
from vehicle_client.outbox import Outbox
from vehicle_client.pipeline import Pipeline
from vehicle_client.report import DriveLog, FrameReport, RejectedFrame
from vehicle_client.selections import selection_of
from vehicle_client.selector import FILE_NAME as SELECTION_FILE
from vehicle_client.selector import Selector
from vehicle_client.sensors.replay import ReplaySensor
from vehicle_client.uploader import BackgroundUpload, Uploader, UploaderConfig, UploadReport, VehicleIdentity

__all__ = ["Drive", "DriveConfig", "DriveResult", "Outcome", "Progress"]

logger = logging.getLogger(__name__)

Outcome = FrameReport | RejectedFrame
Progress = Callable[[Outcome, int], None]


def _greet(uploader: Uploader, config: DriveConfig, guard: DriveGuard) -> Policy | None:
    """Learn at once that the server refuses this vehicle or one of its codecs, or asks for what it cannot do.

    A server that is away may come back during the drive.
    """
    try:
        policy = uploader.handshake().policy
    except ServerUnreachableError as error:
        logger.warning("the server does not answer yet, scenes wait in the outbox: %s", error)
        return None
    config.check_policy(policy)
    guard.check(policy)
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
            GuardRefusedError: the server asks for a guard that this vehicle cannot apply, or not for --guard's.
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
        guard = DriveGuard(config.guard, config.state, config.extractor.is_detecting)
        policy = _greet(uploader, config, guard)
        log = DriveLog()
        with ExitStack() as opened:
            outbox = opened.enter_context(Outbox(config.state / "outbox", config.outbox))
            evicted = outbox.counts().evicted
            _claim(config, outbox)
            beat(config.state, time.time())
            for part in (self._bandwidth, self._selector):  # their files are this process's while it has the outbox
                if part is not None:
                    opened.enter_context(part)
            pipeline = self._pipeline(outbox, uploader, guard)
            with uploader.in_background(outbox) as background:
                upload = self._drive(pipeline, outbox, background, policy, log, on_outcome)
            return DriveResult(
                log=log,
                upload=upload,
                bandwidth=None if self._bandwidth is None else self._bandwidth.report(),
                selection=None if self._selector is None else self._selector.report(),
                guard=pipeline.guard,
                outbox=outbox.report(),
                dropped_scenes=outbox.counts().evicted - evicted,
            )

    def _pipeline(self, outbox: Outbox, uploader: Uploader, guard: DriveGuard) -> Pipeline:
        bandwidth = self._bandwidth

        def choose_codec() -> str:
            terms = uploader.terms
            accepted = None if terms is None else terms.policy.codecs
            return bandwidth.codec(accepted, outbox.counts().pending_bytes) if bandwidth is not None else AUTO

        def choose_guard() -> str:
            return guard.now(None if uploader.terms is None else uploader.terms.policy)

        return Pipeline(
            self._extractor,
            outbox,
            self._pipeline_config,
            self._selector,
            choose_codec if self._config.codecs == (AUTO,) else None,
            choose_guard=choose_guard,
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
