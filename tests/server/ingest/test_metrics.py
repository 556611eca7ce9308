"""The metrics: their names stand in the documentation, and they count what happened."""

from __future__ import annotations

import re
import urllib.request
from pathlib import Path

import pytest

from protos.report import VehicleReport
from server.ingest.config import IngestConfig
from server.ingest.limits import LimitsConfig
from server.ingest.metrics import LIMITS, REPORTED, IngestMetrics, serving_metrics
from shared_models.errors import ConfigError, StorageError, UnauthenticatedError
from tests.loopback import OTHER_BACKBONE, LoopbackServer, free_port, make_scene
from tests.server.ingest.stream_driver import Stream, refusal


def exported(metrics: IngestMetrics) -> set[str]:
    """Names as Prometheus stores them, without the parts of a histogram."""
    return {f"{f.name}_total" if f.type == "counter" else f.name for f in metrics.registry.collect()}


def test_the_page_lists_exactly_what_is_exported(repository: Path) -> None:
    page = (repository / "docs" / "operations.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `((?:upcycle|process)_\w+)`", page, re.MULTILINE)
    assert sorted(listed) == sorted(exported(IngestMetrics()))


def test_two_servers_do_not_share_a_registry() -> None:
    one, two = IngestMetrics(), IngestMetrics()
    one.scenes_stored.inc()
    assert two.registry.get_sample_value("upcycle_scenes_stored_total") == 0


def test_what_an_upload_counts(server: LoopbackServer) -> None:
    def value(name: str, **labels: str) -> float | None:
        return server.intake.metrics.registry.get_sample_value(f"upcycle_{name}", labels)

    stream, half = Stream(server), make_scene(2)
    stream.upload(make_scene(0))
    stream.begin(make_scene(0))
    stream.begin(half)
    stream.send(chunk=stream.chunks(half)[0])
    assert refusal(stream.begin(make_scene(3, backbone_hash=OTHER_BACKBONE)))[1] is False
    assert value("scenes_stored_total") == 1
    assert value("scenes_already_stored_total") == 1
    assert value("scenes_refused_total", reason="REASON_BACKBONE_MISMATCH") == 1
    assert value("payload_stored_bytes_total") == 10_000
    assert value("chunk_received_bytes_total") == 10_000 + 4096
    assert (value("acknowledge_seconds_count"), value("begin_to_stored_seconds_count")) == (1, 1)
    assert (value("open_streams"), value("open_scenes"), value("half_sent_bytes")) == (1, 1, 10_000)
    stream.end()
    assert (value("open_streams"), value("open_scenes"), value("half_sent_bytes")) == (0, 0, 4096)
    assert value("is_serving") == 1


def test_what_failures_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = IngestConfig(limits=LimitsConfig(vehicle_scenes_s=0.001, vehicle_burst_scenes=1))
    with LoopbackServer(tmp_path, config=config) as server:
        value = server.intake.metrics.registry.get_sample_value

        def fail(*_: object) -> None:
            raise StorageError("gone")

        monkeypatch.setattr(server.archive.catalogue, "known", fail)
        stream = Stream(server)
        assert refusal(stream.begin(make_scene(0)))[0] == "REASON_STORAGE"
        answer = stream.begin(make_scene(0))
        assert refusal(answer) == ("REASON_TRY_LATER", True)
        assert 900_000 < answer.refused.retry_after_ms <= 1_000_000
        assert value("upcycle_store_errors_total", {"reason": "REASON_STORAGE"}) == 1
        assert value("upcycle_limit_refusals_total", {"limit": "scene_rate"}) == 1
        server.intake.metrics.count_access(UnauthenticatedError("revoked"))
        assert value("upcycle_access_refusals_total", {"reason": "REASON_UNAUTHENTICATED"}) == 1
        server.intake.note_report("car-1", VehicleReport(evicted_scenes=3))
        assert (value("upcycle_reported_evicted_scenes"), value("upcycle_reported_vehicles")) == (3, 1)


def test_names_of_reports_and_limits() -> None:
    from dataclasses import fields

    assert [each.name for each in fields(VehicleReport)] == list(REPORTED)
    assert len(set(LIMITS)) == len(LIMITS)


def test_the_port() -> None:
    metrics = IngestMetrics()
    metrics.scenes_stored.inc(3)
    with serving_metrics(metrics, ("127.0.0.1", 0)) as port:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as response:
            text = response.read().decode()
        assert "upcycle_scenes_stored_total 3.0" in text
        assert "process_resident_memory_bytes" in text
        with pytest.raises(ConfigError, match="cannot serve metrics"), serving_metrics(metrics, ("127.0.0.1", port)):
            pass
    with serving_metrics(metrics, None) as port:
        assert port == 0


def test_the_port_is_free_again() -> None:
    port = free_port()
    for _ in range(2):
        with serving_metrics(IngestMetrics(), ("127.0.0.1", port)) as given:
            assert given == port
