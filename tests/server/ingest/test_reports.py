"""The last reports of vehicles, their sums, and what the log says of losses."""

from __future__ import annotations

import logging

import pytest

from protos import convert
from protos.report import VehicleReport
from protos.v1 import ingest_pb2
from server.ingest.reports import VehicleReports
from tests.loopback import LoopbackServer, make_scene
from tests.server.ingest.stream_driver import Stream


def test_sums_are_over_the_last_reports(caplog: pytest.LogCaptureFixture) -> None:
    reports = VehicleReports(2, lambda vehicle_id: "tag")
    reports.note("a", VehicleReport(pending_scenes=5, pending_bytes=50))
    reports.note("b", VehicleReport(pending_scenes=2, delivered_scenes=9))
    reports.note("a", VehicleReport(pending_scenes=1, pending_bytes=10))
    assert (reports.sums["pending_scenes"], reports.sums["pending_bytes"]) == (3, 10)
    reports.note("c", VehicleReport(pending_scenes=4))  # b was heard of longest ago
    assert (len(reports), reports.last("b"), reports.sums["pending_scenes"]) == (2, None, 5)
    assert reports.sums["delivered_scenes"] == 0
    assert not caplog.records


def test_losses_are_logged_once_and_without_the_name(caplog: pytest.LogCaptureFixture) -> None:
    reports = VehicleReports(10, lambda vehicle_id: "tag")
    with caplog.at_level(logging.WARNING):
        for evicted, given_up in ((0, 0), (2, 0), (2, 0), (2, 1)):
            reports.note("car-1", VehicleReport(evicted_scenes=evicted, given_up_scenes=given_up))
    assert [(record.evicted, record.given_up) for record in caplog.records] == [(2, 0), (2, 1)]  # type: ignore[attr-defined]
    assert "car-1" not in caplog.text


def test_a_report_on_a_stream_has_no_answer(server: LoopbackServer) -> None:
    report = VehicleReport(pending_scenes=3, evicted_scenes=1)
    stream = Stream(server)
    stream.send(report=convert.report_to_message(report))
    assert stream.upload(make_scene()).WhichOneof("answer") == "stored"
    assert server.intake.reports.last("car-1") == report


def test_a_report_of_nonsense_ends_the_stream(server: LoopbackServer) -> None:
    stream = Stream(server)
    stream.send(report=ingest_pb2.VehicleReport(pending_scenes=2**63))
    assert (stream.status().name, stream.reason()) == ("INVALID_ARGUMENT", "REASON_PROTOCOL")
    assert server.intake.reports.last("car-1") is None
