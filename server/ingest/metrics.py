"""What the service counts and measures, for Prometheus; docs/operations.md lists every name.

No vehicle is a label: fleets are large, and names are nobody's business. Each server has a registry of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, start_http_server

from protos.status import status_of
from protos.v1 import common_pb2 as pb
from server.ingest.refusals import TryLaterError
from shared_models.errors import ConfigError, StorageError, StorageFullError, UpcycleError

LIMITS = ("scene_rate", "byte_rate", "stored_bytes", "day_bytes", "half_sent", "streams", "slow", "stopping")
CAUSES = ("idle", "stalled", "trickle", "unread", "taken_over")
REPORTED = ("pending_scenes", "pending_bytes", "evicted_scenes", "evicted_bytes", "given_up_scenes", "delivered_scenes")

_ACKNOWLEDGE_S = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_SCENE_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
_CATALOGUE_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)


class IngestMetrics:
    """One server's metrics; counting is safe from any thread."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        ProcessCollector(registry=registry)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, labels, namespace="upcycle", registry=registry)

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(name, text, namespace="upcycle", registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(name, text, namespace="upcycle", registry=registry, buckets=buckets)

        self.scenes_stored = counter("scenes_stored", "scenes made durable and acknowledged")
        self.scenes_already_stored = counter("scenes_already_stored", "scenes begun that were stored before")
        self.scenes_refused = counter("scenes_refused", "scenes refused", "reason")
        self.payload_bytes = counter("payload_stored_bytes", "payload bytes of the scenes stored")
        self.chunk_bytes = counter("chunk_received_bytes", "data of the chunks that came in")
        self.acknowledge_s = histogram("acknowledge_seconds", "from a scene's finish to its answer", _ACKNOWLEDGE_S)
        self.scene_s = histogram("begin_to_stored_seconds", "from a scene's begin to its answer", _SCENE_S)
        self.open_streams = gauge("open_streams", "upload streams that have said hello")
        self.open_scenes = gauge("open_scenes", "scenes begun and not finished")
        self.half_sent_bytes = gauge("half_sent_bytes", "declared by open scenes, or held of broken streams")
        self.streams_refused = counter("streams_refused", "calls of Upload that ended with an error", "reason")
        self.streams_ended = counter("streams_ended", "streams that the server ended by itself", "cause")
        self.store_errors = counter("store_errors", "refusals because disk or database failed", "reason")
        self.limit_refusals = counter("limit_refusals", "refusals because a limit was reached", "limit")
        self.access_refusals = counter("access_refusals", "calls of callers not admitted", "reason")
        self.catalogue_s = histogram("catalogue_seconds", "a look-up in the catalogue, at each check", _CATALOGUE_S)
        self.disk_free_bytes = gauge("disk_free_bytes", "free space where the payloads lie, at the last check")
        self.is_serving = gauge("is_serving", "1 while health says SERVING, else 0")
        self.reported_vehicles = gauge("reported_vehicles", "vehicles whose last report is known")
        self.reported = {name: gauge(f"reported_{name}", f"{name}, sum over the last reports") for name in REPORTED}
        for cause in CAUSES:
            self.streams_ended.labels(cause)  # there from the start, at 0
        for limit in LIMITS:
            self.limit_refusals.labels(limit)

    def count_refusal(self, refused: Counter, error: UpcycleError) -> None:
        """Count `error` under its reason in `refused`, and with the disk's or the limits' where it is one of them."""
        reason = pb.Reason.Name(status_of(error).reason)
        refused.labels(reason).inc()
        if isinstance(error, StorageError | StorageFullError):
            self.store_errors.labels(reason).inc()
        if isinstance(error, TryLaterError):
            self.limit_refusals.labels(error.limit).inc()

    def count_access(self, error: UpcycleError) -> None:
        """Count a caller who was not admitted."""
        self.access_refusals.labels(pb.Reason.Name(status_of(error).reason)).inc()


@contextmanager
def serving_metrics(metrics: IngestMetrics, address: tuple[str, int] | None) -> Iterator[int]:
    """Let Prometheus fetch the metrics inside, over plain HTTP at (host, port); gives the port, 0 without `address`.

    Raises:
        ConfigError: the address cannot be bound.
    """
    if address is None:
        yield 0
        return
    host, port = address
    try:
        server, thread = start_http_server(port, host, metrics.registry)
    except OSError as error:
        raise ConfigError(f"cannot serve metrics on {host}:{port}: {error.strerror or error}") from error
    try:
        yield int(server.server_port)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
