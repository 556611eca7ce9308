"""The uploader under a rate and a daily budget, against a real server on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared_models.errors import ServerUnreachableError
from tests.loopback import Hours, LoopbackServer, fill, make_identity, make_policy
from vehicle_client.bandwidth import Bandwidth, BandwidthConfig, LinkConfig
from vehicle_client.outbox import Outbox
from vehicle_client.uploader import Uploader, UploaderConfig

DAY = 20_778 * 86_400.0


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    with Outbox(tmp_path / "spool") as opened:
        yield opened


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LoopbackServer]:
    with LoopbackServer(tmp_path / "data") as running:
        yield running


def limited(tmp_path: Path, hours: Hours, daily_bytes: int) -> Bandwidth:
    config = BandwidthConfig(link="cellular", cellular=LinkConfig(daily_bytes=daily_bytes))
    return Bandwidth(config, tmp_path / "bandwidth.json", hours.clock_s, lambda: DAY + 43_200.0 + hours.now_s)


def test_a_spent_budget_stops_the_upload_and_the_next_day_goes_on(
    tmp_path: Path, server: LoopbackServer, outbox: Outbox
) -> None:
    """25,000 bytes a day carry two scenes and a half; the half one goes on where it was."""
    ids, hours = fill(outbox, 4), Hours()
    config = UploaderConfig(max_in_flight=1, give_up_after_s=100_000.0)
    with limited(tmp_path, hours, 25_000) as bandwidth:
        sender = Uploader(server.target, make_identity(), config, hours.clock_s, hours.wait, gate=bandwidth)
        report = sender.run(outbox)
        sent = bandwidth.report()["links"]["cellular"]["sent_today_bytes"]
    assert sorted(stored.scene_id for stored in server.archive.catalogue.scenes()) == sorted(ids)
    assert report.payload_bytes == 40_000  # nothing was sent twice
    assert 43_200.0 <= hours.now_s <= 43_200.0 + 60.0  # until midnight
    assert max(hours.waits_s) <= 30.0
    assert report.streams == 2  # none was opened while nothing could go
    assert 15_000 <= sent <= 25_000
    assert sender.terms is not None
    assert sender.terms.policy == make_policy()


def test_a_drive_does_not_wait_for_midnight_unless_told(tmp_path: Path, server: LoopbackServer, outbox: Outbox) -> None:
    fill(outbox, 4)
    hours = Hours()
    with limited(tmp_path, hours, 25_000) as bandwidth:
        sender = Uploader(
            server.target,
            make_identity(),
            UploaderConfig(give_up_after_s=60.0),
            hours.clock_s,
            hours.wait,
            gate=bandwidth,
        )
        with pytest.raises(ServerUnreachableError, match="budget of 25000 bytes on cellular is spent"):
            sender.run(outbox)
        assert bandwidth.report()["links"]["cellular"]["left_bytes"] < 4096
    assert outbox.counts().pending > 0


def test_a_budget_of_nothing_opens_no_connection(tmp_path: Path, outbox: Outbox) -> None:
    fill(outbox, 1)
    hours = Hours()
    with limited(tmp_path, hours, 0) as bandwidth:
        sender = Uploader(
            "127.0.0.1:1",
            make_identity(),
            UploaderConfig(give_up_after_s=60.0),
            hours.clock_s,
            hours.wait,
            gate=bandwidth,
        )
        with pytest.raises(ServerUnreachableError, match="is spent"):
            sender.run(outbox)
    assert sender.report().streams == 0


def test_a_slow_link_is_no_silent_server(tmp_path: Path, server: LoopbackServer, outbox: Outbox) -> None:
    """Chunks wait longer than `stall_s`, and the stream lives on."""
    fill(outbox, 2)
    config = BandwidthConfig(link="wifi", wifi=LinkConfig(rate_bytes_s=40_000.0, burst_bytes=4096))
    with Bandwidth(config, tmp_path / "bandwidth.json", now_s=lambda: DAY) as bandwidth:
        quick = UploaderConfig(stall_s=0.05, max_in_flight=1)
        report = Uploader(server.target, make_identity(), quick, gate=bandwidth).run(outbox)
        throttled_s = bandwidth.report()["links"]["wifi"]["throttled_s"]
    assert (report.stored, report.streams) == (2, 1)
    assert 0.2 <= throttled_s <= 10.0  # 20,000 bytes less the burst, at 40,000 a second
