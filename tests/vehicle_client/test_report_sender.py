from __future__ import annotations

from dataclasses import replace

import pytest

from protos import convert
from protos.report import VehicleReport
from protos.v1 import ingest_pb2 as pb
from vehicle_client.report_sender import ReportSender


class Spool:
    """An outbox's report, a clock, and what was sent."""

    def __init__(self) -> None:
        self.now_s, self.report, self.looks = 1000.0, VehicleReport(pending_scenes=3, pending_bytes=30), 0
        self.sender = ReportSender(self.read, lambda: self.now_s)

    def read(self) -> VehicleReport:
        self.looks += 1
        return self.report

    def change(self, **numbers: int) -> None:
        self.report = replace(self.report, **numbers)


@pytest.fixture
def spool() -> Spool:
    return Spool()


def told(message: pb.UploadRequest | None) -> VehicleReport | None:
    return None if message is None else convert.report_from_message(message.report)


def test_a_stream_begins_with_a_report(spool: Spool):
    assert told(spool.sender.due()) == spool.report
    assert spool.sender.due() is None


@pytest.mark.parametrize(
    "loss", [{"evicted_scenes": 1, "evicted_bytes": 9}, {"evicted_bytes": 9}, {"given_up_scenes": 1}]
)
def test_losses_are_told_at_most_every_ten_seconds(spool: Spool, loss: dict[str, int]):
    spool.sender.due()
    spool.change(**loss)
    spool.now_s += 9.9
    assert spool.sender.due() is None
    spool.now_s += 0.1
    assert told(spool.sender.due()) == spool.report
    spool.now_s += 10.0
    assert spool.sender.due() is None  # nothing new


def test_what_is_no_loss_is_not_worth_a_message(spool: Spool):
    spool.sender.due()
    spool.change(pending_scenes=9, pending_bytes=90, delivered_scenes=8)
    spool.now_s += 100.0
    assert spool.sender.due() is None


def test_the_outbox_is_not_asked_at_every_chunk(spool: Spool):
    for _ in range(1000):
        spool.sender.due()
        spool.now_s += 0.1
    assert 9 <= spool.looks <= 11


def test_the_last_word_is_said_once_and_only_where_something_changed(spool: Spool):
    spool.sender.due()
    unchanged = Spool()
    unchanged.sender.due()
    assert unchanged.sender.closing() is None
    spool.change(delivered_scenes=3, pending_scenes=0, pending_bytes=0)
    assert told(spool.sender.closing()) == spool.report
    spool.change(pending_scenes=1)  # scenes that come while the stream ends do not keep it open
    assert spool.sender.closing() is None
