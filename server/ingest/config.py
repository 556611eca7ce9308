"""Settings of the ingest service."""

from __future__ import annotations

from dataclasses import dataclass, field

from server.ingest.limits import LimitsConfig
from server.ingest.slow_streams import SlowStreamConfig
from server.ingest.watchdog import WatchdogConfig
from shared_models.errors import InvalidValueError


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestConfig:
    """How the service shares its machine among vehicles; `upcycle server serve --config` reads it from a TOML file.

    credit_bytes: payload bytes a vehicle may send ahead of the server's disk, per stream; 0: no such limit.
    disk_threads: threads for blocking file and database work.
    finishing_at_once: scenes that are checked and made durable at the same time, each in a thread of its own, for they
        share the disk's syncs; each has its payload in memory for a moment, and takes up to two connections of
        `PostgresConfig.pool` where the catalogue is in PostgreSQL.
    hello_timeout_s: seconds that a new stream may take to say hello.
    partial_expiry_s: seconds without a new chunk after which half-sent payloads are dropped.
    partial_check_s: seconds between two searches for half-sent payloads to drop.
    partial_bytes: all half-sent payloads together; the oldest are dropped beyond that.
    partial_count: half-sent payloads kept at most; the oldest are dropped beyond that.
    shutdown_grace_s: seconds that open scenes get to be finished when the server stops.
    limits: of each vehicle and of all together.
    slow_streams: how slow a stream may be.
    watchdog: when the server counts as unhealthy.
    """

    credit_bytes: int = 16 << 20
    disk_threads: int = 4
    finishing_at_once: int = 8
    hello_timeout_s: float = 30.0
    partial_expiry_s: float = 86_400.0
    partial_check_s: float = 60.0
    partial_bytes: int = 16 << 30
    partial_count: int = 20_000
    shutdown_grace_s: float = 10.0
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    slow_streams: SlowStreamConfig = field(default_factory=SlowStreamConfig)
    watchdog: WatchdogConfig = field(default_factory=WatchdogConfig)

    def __post_init__(self) -> None:
        if self.credit_bytes and self.credit_bytes < 2 << 20:
            raise InvalidValueError(f"IngestConfig.credit_bytes: expected 0 or at least 2 MiB, got {self.credit_bytes}")
        if self.disk_threads < 1 or self.finishing_at_once < 1:
            raise InvalidValueError(f"IngestConfig: expected at least 1 thread and 1 finishing scene, got {self}")
        if self.partial_bytes < 1 or self.partial_count < 1 or self.partial_check_s <= 0:
            raise InvalidValueError(f"IngestConfig: expected partial_bytes, _count and _check_s above 0, got {self}")
