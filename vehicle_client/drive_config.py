"""What is driven, as whom, and where to."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from protos.policy import Policy
from shared_models import guards
from shared_models.errors import ConfigError
from shared_models.records import check
from vehicle_client.bandwidth import AUTO, BandwidthConfig
from vehicle_client.extractor import ExtractorConfig
from vehicle_client.outbox_config import OutboxConfig
from vehicle_client.pipeline import PipelineConfig
from vehicle_client.priority import Priority
from vehicle_client.sensors.replay import ReplayConfig
from vehicle_client.tls import TlsFiles


@dataclass(frozen=True, slots=True, kw_only=True)
class DriveConfig:
    """What is driven, as whom, and where to.

    server: HOST:PORT of the ingest service.
    dataset, root, split: the frames, see `shared_models.datasets.open_dataset`; simulated ones need no folder.
    vehicle_id: name under which the scenes are sent; the state folder keeps it and is this vehicle's from then on.
    state: folder for the outbox and the kept detections.
    codecs: each frame is sent once with each; "auto" alone chooses one by what is left of the link's daily budget.
    guard: what is done to the features before they are encoded; "": as the server's policy says and, where that names
        none, the guard that this version recommends (`shared_models.guards.DEFAULT_GUARD`).
    give_up_after_s: seconds without any progress of the upload after the last frame, after which the drive ends with an
        error; what was not sent stays in the outbox. While frames come, a server may be away for any time.
    bandwidth: rates and budgets of the links; None: not limited, not counted.
    tls: the vehicle's certificate and whom it believes; None: no encryption.
    select: which frames are sent, see `vehicle_client.selections.from_mapping`; None: all.
    region: where the scans are taken, a name as coarse as the operator chooses; "" says nothing.
    priority: class in the outbox of frames that no rule gives a score.
    outbox: size of the outbox and what happens when it is full.
    """

    server: str
    root: Path | None = None
    dataset: str = "kitti"
    split: str = "all"
    vehicle_id: str = "vehicle"
    state: Path = Path("state/vehicle")
    codecs: tuple[str, ...] = ("float32",)
    guard: str = ""
    give_up_after_s: float = 60.0
    replay: ReplayConfig = field(default_factory=ReplayConfig)
    extractor: ExtractorConfig = field(default_factory=ExtractorConfig)
    bandwidth: BandwidthConfig | None = None
    tls: TlsFiles | None = None
    select: Mapping[str, Any] | None = None
    region: str = ""
    priority: Priority = Priority.ROUTINE
    outbox: OutboxConfig = field(default_factory=OutboxConfig)

    def __post_init__(self) -> None:
        check.name("DriveConfig", "vehicle_id", self.vehicle_id)
        if self.region:
            check.name("DriveConfig", "region", self.region)
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
            guard=self.guard or guards.DEFAULT,
            detections_folder=self.state / "detections",
            region=self.region,
            priority=self.priority,
        )
