"""Sense, extract, guard, encode, put into the outbox, one frame at a time; the uploader empties it beside."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import torch

from shared_models import codecs, guards
from shared_models.errors import ConfigError, InvalidValueError
from shared_models.guards.watch import GuardWatch
from shared_models.records import EncodedScene, Frame, SceneFeatures, SceneManifest, check
from shared_models.records.features import NO_GUARD
from vehicle_client.detection_files import save_detections
from vehicle_client.extractor import Extraction, Extractor
from vehicle_client.priority import Priority
from vehicle_client.report import FrameReport, RejectedFrame, SceneReport
from vehicle_client.selection import Candidate, Verdict
from vehicle_client.selector import Decision, Selector
from vehicle_client.sensors.reading import Reading

logger = logging.getLogger(__name__)


class SceneSink(Protocol):
    """Where encoded scenes go; the outbox is one."""

    def put(self, scene: EncodedScene, priority: Priority = Priority.ROUTINE) -> bool: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineConfig:
    """What a vehicle makes of each frame.

    vehicle_id: name under which its scenes are sent.
    codecs: names in `shared_models.codecs`; each frame is sent once with each of them.
    guard: what is done to the features before they are encoded, as `shared_models.guards.build` takes it.
    guard_seed: seed of the guard's randomness, for tests; None draws one from the operating system.
    detections_folder: where the vehicle's own detections are kept; None keeps none.
    region: where the scans are taken, a name as coarse as the operator chooses; "" says nothing. Stored scenes can be
        deleted by it.
    priority: class in the outbox of frames that no rule gives a score.
    """

    vehicle_id: str = "vehicle"
    codecs: tuple[str, ...] = ("float32",)
    guard: str = "none"
    guard_seed: int | None = None
    detections_folder: Path | None = None
    region: str = ""
    priority: Priority = Priority.ROUTINE

    def __post_init__(self) -> None:
        check.name("PipelineConfig", "vehicle_id", self.vehicle_id)
        if self.region:
            check.name("PipelineConfig", "region", self.region)
        if not self.codecs or len(set(self.codecs)) != len(self.codecs):
            raise ConfigError(f"PipelineConfig.codecs: expected at least one codec, each once, got {self.codecs}")
        for name in self.codecs:
            codecs.build(name)  # an unknown name is refused before the drive
        guards.build(self.guard)


class Pipeline:
    """Turns readings of a sensor into scenes in the outbox."""

    def __init__(
        self,
        extractor: Extractor,
        sink: SceneSink,
        config: PipelineConfig,
        selector: Selector[FrameReport] | None = None,
        choose_codec: Callable[[], str] | None = None,
        now_ns: Callable[[], int] = time.time_ns,
        choose_guard: Callable[[], str] | None = None,
    ) -> None:
        """`selector` says which frames are sent, None: all.

        `choose_codec` and `choose_guard` are asked for each frame instead of the config.

        Raises:
            UnknownNameError, ConfigError: there is no such guard, or it needs detections and the vehicle makes none.
        """
        self._selector, self._choose_codec, self._now_ns = selector, choose_codec, now_ns
        self._extractor = extractor
        self._sink = sink
        self._config = config
        self._choose_guard = choose_guard
        self._watched = config.guard if choose_guard is None else NO_GUARD
        self._watch = self._opened(self._watched)
        self._generator = torch.Generator()
        if config.guard_seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(config.guard_seed)

    def run(self, readings: Iterable[Reading]) -> Iterator[FrameReport | RejectedFrame]:
        """What became of each reading. A frame that cannot be used is reported and the drive goes on.

        A selection may hold a frame back until it has seen the next ones; it then comes after them.

        Raises:
            StorageFullError, StorageError: the outbox or the detections cannot be kept on this machine.
        """
        for reading in readings:
            yield from self._handle(reading)
        yield from self.flush()

    def _handle(self, reading: Reading) -> list[FrameReport | RejectedFrame]:
        if reading.frame is None:
            return [_rejected(reading.frame_id, str(reading.error))]
        try:
            candidate, report = self._look_at(reading.frame, reading.read_s, reading.late_s)
            decisions = self._decide(candidate, report)
        except InvalidValueError as error:
            return [_rejected(reading.frame_id, str(error))]
        return [self._carry_out_or_reject(decision) for decision in decisions]

    @property
    def guard(self) -> GuardWatch:
        """The guard that is applied now, and how many scenes it has changed."""
        return self._watch

    def _guard_now(self) -> GuardWatch:
        name = self._watched if self._choose_guard is None else self._choose_guard()
        if name != self._watched:
            self._watch.finish()
            self._watch, self._watched = self._opened(name), name
        return self._watch

    def _opened(self, name: str) -> GuardWatch:
        guard = guards.build(name)
        if guard.needs_detections and not self._extractor.is_detecting:
            raise ConfigError(f"guard {name}: it needs the vehicle's detections: leave out --no-detections")
        return GuardWatch(guard)

    def flush(self) -> list[FrameReport | RejectedFrame]:
        """What became of a frame that was held back; to be called after the last one.

        Raises:
            StorageFullError, StorageError: as `run`.
        """
        self._watch.finish()
        held = [] if self._selector is None else self._selector.flush()
        return [self._carry_out_or_reject(decision) for decision in held]

    def process(self, frame: Frame, read_s: float = 0.0, late_s: float = 0.0) -> FrameReport:
        """Make the scenes of one frame and hand them over, without asking the selection.

        Raises:
            InvalidValueError: the frame does not suit the detector.
            StorageFullError, StorageError: the outbox or the detections cannot be kept on this machine.
        """
        return self._carry_out(_without_selection(*self._look_at(frame, read_s, late_s)))

    def _look_at(self, frame: Frame, read_s: float, late_s: float) -> tuple[Candidate, FrameReport]:
        extraction = self._extractor.extract(frame)
        started_s = time.perf_counter()
        watch, context = self._guard_now(), self._extractor.guard_context(extraction)
        features = watch.apply(extraction.features, self._generator, context)
        guard_s = time.perf_counter() - started_s
        candidate = Candidate(
            frame=frame,
            features=features,
            detections=extraction.detections,
            time_ns=frame.timestamp_ns or self._now_ns(),
        )
        return candidate, FrameReport(
            frame_id=frame.frame_id,
            points=len(frame.points),
            raw_bytes=frame.points.nbytes,
            cells=len(features.grid),
            scenes=(),
            detections_file=self._keep(frame, extraction),
            read_s=read_s,
            late_s=late_s,
            extract_s=extraction.extract_s,
            detect_s=extraction.detect_s,
            guard_s=guard_s,
        )

    def _decide(self, candidate: Candidate, report: FrameReport) -> list[Decision[FrameReport]]:
        if self._selector is None:
            return [_without_selection(candidate, report)]
        return self._selector.offer(candidate, report)

    def _carry_out_or_reject(self, decision: Decision[FrameReport]) -> FrameReport | RejectedFrame:
        try:
            return self._carry_out(decision)
        except InvalidValueError as error:
            return _rejected(decision.item.frame_id, str(error))

    def _carry_out(self, decision: Decision[FrameReport]) -> FrameReport:
        """Encode a selected frame and hand it over, as far as the selection's budget allows."""
        candidate, verdict, selector = decision.candidate, decision.verdict, self._selector
        report = replace(decision.item, score=verdict.score)
        if not verdict.is_selected:
            return replace(report, not_selected=verdict.reason)
        over = selector.over_budget() if selector else None
        if over:
            return replace(report, not_selected=over)
        names = self._config.codecs if self._choose_codec is None else (self._choose_codec(),)
        made = [self._encode(candidate, codec) for codec in names]
        size = sum(scene.manifest.payload_bytes for scene, _ in made)
        over = selector.over_budget(size) if selector else None
        if over:
            return replace(report, not_selected=over)
        priority = self._config.priority if verdict.priority is None else verdict.priority
        scenes = tuple(self._put(scene, priority, encode_s) for scene, encode_s in made)
        if selector:
            selector.sent(candidate, size)
        return replace(report, scenes=scenes, selected_by=verdict.reason if selector else None)

    def _encode(self, candidate: Candidate, codec: str) -> tuple[EncodedScene, float]:
        started_s = time.perf_counter()
        config = self._config
        scene = encode_scene(config.vehicle_id, candidate.frame, candidate.features, codec, config.region)
        return scene, time.perf_counter() - started_s

    def _put(self, scene: EncodedScene, priority: Priority, encode_s: float) -> SceneReport:
        started_s = time.perf_counter()
        self._sink.put(scene, priority)
        return SceneReport(
            scene_id=scene.manifest.scene_id,
            codec=scene.manifest.codec,
            payload_bytes=scene.manifest.payload_bytes,
            encode_s=encode_s,
            put_s=time.perf_counter() - started_s,
        )

    def _keep(self, frame: Frame, extraction: Extraction) -> str | None:
        if extraction.detections is None or self._config.detections_folder is None:
            return None
        return str(save_detections(self._config.detections_folder, frame.frame_id, extraction.detections))


def encode_scene(vehicle_id: str, frame: Frame, features: SceneFeatures, codec: str, region: str = "") -> EncodedScene:
    """Payload and manifest of one frame's features.

    Raises:
        UnknownNameError: there is no codec of that name.
        InvalidValueError: a feature is NaN or infinite.
    """
    payload = codecs.encode(features, codec)
    manifest = SceneManifest(
        vehicle_id=vehicle_id,
        frame_id=frame.frame_id,
        timestamp_ns=frame.timestamp_ns,
        codec=codec,
        split_layer=features.split_layer,
        backbone_hash=features.backbone_hash,
        payload_sha256=hashlib.sha256(payload).hexdigest(),
        payload_bytes=len(payload),
        region=region,
    )
    return EncodedScene(manifest=manifest, payload=payload)


def _without_selection(candidate: Candidate, report: FrameReport) -> Decision[FrameReport]:
    return Decision(candidate=candidate, verdict=Verdict(is_selected=True, reason=""), item=report)


def _rejected(frame_id: str, reason: str) -> RejectedFrame:
    logger.warning("frame rejected", extra={"frame_id": frame_id})
    return RejectedFrame(frame_id=frame_id, reason=reason)
