from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shared_models.errors import CodecRefusedError, ConfigError, InvalidValueError, StorageError, UnknownNameError
from tests.loopback import Hours
from vehicle_client.bandwidth import MAX_WAIT_S, Bandwidth, BandwidthConfig, LinkConfig, choose_codec
from vehicle_client.link import LinkSource

NOON_S = 20_778 * 86_400.0 + 43_200.0


class Clocks(Hours):
    """A monotonic clock and a wall clock that can be put forward and back on its own."""

    def __init__(self) -> None:
        super().__init__()
        self.offset_s = NOON_S

    def wall_s(self) -> float:
        return self.offset_s + self.now_s


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def make(tmp_path: Path, clocks: Clocks):
    def opened(link: LinkSource | None = None, is_opened: bool = True, **cellular: Any) -> Bandwidth:
        config = BandwidthConfig(link="cellular", cellular=LinkConfig(**cellular))
        bandwidth = Bandwidth(config, tmp_path / "bandwidth.json", clocks.clock_s, clocks.wall_s, link)
        return bandwidth.__enter__() if is_opened else bandwidth

    return opened


def send(bandwidth: Bandwidth, clocks: Clocks, size: int, count: int) -> list[float]:
    """Send so many chunks as the uploader does; the waits in between."""
    waits: list[float] = []
    for _ in range(count):
        while (wait := bandwidth.ask(size)) is not None:
            waits.append(wait.seconds)
            clocks.now_s += wait.seconds
    return waits


def test_nothing_is_limited_unless_told_but_all_is_counted(make, clocks):
    bandwidth = make()
    assert send(bandwidth, clocks, 1 << 20, 50) == []
    assert bandwidth.report()["links"]["cellular"] == {
        "sent_today_bytes": 50 << 20,
        "left_bytes": None,
        "throttled_s": 0.0,
    }


def test_a_rate_is_kept_and_the_time_counted(make, clocks):
    bandwidth = make(rate_bytes_s=1000.0, burst_bytes=2000)
    waits = send(bandwidth, clocks, 1000, 12)
    assert clocks.now_s == pytest.approx(10.0)  # two at once, ten at one a second
    assert len(waits) == 10
    assert bandwidth.report()["links"]["cellular"]["throttled_s"] == pytest.approx(10.0)


def test_long_waits_come_in_pieces(make, clocks):
    bandwidth = make(rate_bytes_s=1.0, burst_bytes=100)
    send(bandwidth, clocks, 100, 1)
    assert bandwidth.ask(100).seconds == MAX_WAIT_S
    assert bandwidth.ask(100).closed is None


def test_time_that_nobody_waited_is_not_counted(make, clocks):
    bandwidth = make(rate_bytes_s=100.0, burst_bytes=100)
    send(bandwidth, clocks, 100, 1)
    bandwidth.ask(100)  # 1 s
    clocks.now_s += 500.0
    assert bandwidth.ask(100) is None
    assert bandwidth.report()["links"]["cellular"]["throttled_s"] == pytest.approx(1.0)


def test_a_spent_budget_closes_until_midnight(make, clocks):
    bandwidth = make(daily_bytes=1000)
    send(bandwidth, clocks, 400, 2)
    assert bandwidth.closed() is None
    refused = bandwidth.ask(400)
    assert "budget of 1000 bytes on cellular is spent but for 200" in refused.closed
    assert bandwidth.closed().closed == refused.closed
    clocks.now_s = 43_190.0
    assert bandwidth.closed().seconds == pytest.approx(10.0)
    clocks.now_s = 43_200.0
    assert bandwidth.closed() is None
    assert bandwidth.ask(400) is None
    assert bandwidth.report()["day"] == "2026-11-22"
    assert bandwidth.report()["links"]["cellular"]["left_bytes"] == 600


def test_the_last_bytes_serve_a_smaller_chunk(make, clocks):
    bandwidth = make(daily_bytes=1000)
    send(bandwidth, clocks, 400, 2)
    assert bandwidth.ask(201) is not None
    assert bandwidth.closed() is not None
    assert bandwidth.ask(150) is None
    assert bandwidth.closed() is None  # what was too large has no say any more
    assert bandwidth.ask(50) is None
    assert bandwidth.ask(1).closed


def test_no_change_of_the_clock_gives_a_days_budget_twice(make, clocks):
    granted: dict[int, int] = {}
    bandwidth = make(daily_bytes=1000)
    for days in (0, 1, -1, 0, 4000, 0, -20_000, 1, 0, 4000, -1):
        clocks.offset_s = NOON_S + days * 86_400.0
        for _ in range(5):
            granted[days] = granted.get(days, 0) + (bandwidth.ask(300) is None) * 300
    assert granted == {0: 900, 1: 900, -1: 900, 4000: 900, -20_000: 900}


def test_restarts_remember(make, clocks):
    first = make(daily_bytes=1000)
    send(first, clocks, 300, 2)
    first.__exit__()
    second = make(daily_bytes=1000)
    assert second.report()["links"]["cellular"]["sent_today_bytes"] == 600
    send(second, clocks, 300, 1)
    killed = make(daily_bytes=1000)  # the second was not closed
    assert killed.ask(300) is not None


def test_without_a_link_nothing_goes(make, clocks, tmp_path: Path):
    (tmp_path / "link").write_text("none")
    source = LinkSource(f"file:{tmp_path / 'link'}", "cellular", 10.0, clocks.clock_s, beside=lambda work: work())
    bandwidth = make(source)
    assert bandwidth.ask(1).closed == "there is no link"
    clocks.now_s += 9.0
    assert bandwidth.closed().closed == "there is no link"
    (tmp_path / "link").write_text("wifi")
    clocks.now_s += 10.0
    assert bandwidth.closed() is None
    assert bandwidth.ask(5) is None
    report = bandwidth.report()
    assert (report["link"], report["links"]["wifi"]["sent_today_bytes"], report["without_link_s"]) == ("wifi", 5, 19.0)


def test_the_codec_follows_the_budget(make, clocks):
    bandwidth = make(daily_bytes=1000)
    chosen = []
    for _ in range(10):
        chosen.append(bandwidth.codec(None))
        bandwidth.ask(100)
    assert chosen == ["float16"] * 6 + ["int8"] * 4  # shares 1.0 to 0.5, then 0.4 to 0.1
    assert bandwidth.codec(None) == "int4"


def test_what_waits_is_taken_off_the_budget(make):
    bandwidth = make(daily_bytes=1000)
    assert [bandwidth.codec(None, waiting) for waiting in (0, 500, 501, 901, 5000)] == [
        "float16",
        "float16",
        "int8",
        "int4",
        "int4",
    ]


def test_an_unlimited_link_sends_the_finest(make):
    assert make().codec({"int8", "float16"}, 1 << 50) == "float16"


STEPS = {"float16": 0.5, "int8": 0.1, "int4": 0.0}


@pytest.mark.parametrize(
    ("share", "accepted", "chosen"),
    [
        (0.5, None, "float16"),
        (0.49, None, "int8"),
        (0.3, {"float16", "int4"}, "int4"),
        (0.0, {"float16"}, "float16"),
        (0.9, {"int8"}, "int8"),
        (0.0, {"float16", "int8", "float32"}, "int8"),
    ],
)
def test_only_what_the_server_accepts_is_chosen(share, accepted, chosen):
    assert choose_codec(STEPS, share, accepted) == chosen


def test_a_server_that_accepts_none_of_them():
    with pytest.raises(CodecRefusedError, match="float16, int8, int4 is not accepted, the server accepts float32"):
        choose_codec(STEPS, 1.0, {"float32"})


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"rate_bytes_s": 0.0}, InvalidValueError),
        ({"rate_bytes_s": float("nan")}, InvalidValueError),
        ({"burst_bytes": 0}, InvalidValueError),
        ({"daily_bytes": -1}, InvalidValueError),
        ({"codecs": {"int8": 0.5}}, InvalidValueError),
        ({"codecs": {"int8": 0.0, "int4": 0.0}}, InvalidValueError),
        ({"codecs": {"int9": 0.0}}, UnknownNameError),
    ],
)
def test_wrong_settings_of_a_link(settings, error):
    with pytest.raises(error):
        LinkConfig(**settings)


def test_wrong_settings_of_the_whole():
    with pytest.raises(ConfigError, match="got 'lte'"):
        BandwidthConfig(link="lte")
    with pytest.raises(InvalidValueError, match="fallback"):
        BandwidthConfig(fallback="lte")


def test_it_has_to_be_opened(make):
    with pytest.raises(StorageError, match="not opened yet"):
        make(is_opened=False).ask(1)


@pytest.mark.parametrize(
    ("link", "given", "expected"),
    [
        ("cellular", {}, 256 << 10),
        ("wifi", {}, 1 << 20),
        ("ethernet", {}, 1 << 20),
        ("cellular", {"chunk_bytes": 1000}, 1000),
        ("wifi", {"chunk_bytes": 1000}, 1000),
    ],
)
def test_pieces_are_small_where_a_cut_costs_much(tmp_path, link, given, expected):
    config = BandwidthConfig(link=link, **{link: LinkConfig(**given)})
    assert Bandwidth(config, tmp_path / "bandwidth.json").chunk_bytes() == expected


def test_without_a_link_pieces_are_small(tmp_path, clocks):
    (tmp_path / "link").write_text("none")
    bandwidth = Bandwidth(BandwidthConfig(link=f"file:{tmp_path / 'link'}"), tmp_path / "b.json", clocks.clock_s)
    assert bandwidth.chunk_bytes() == 256 << 10


@pytest.mark.parametrize("size", [0, (1 << 20) + 1])
def test_pieces_that_no_server_takes_are_refused(size):
    with pytest.raises(InvalidValueError, match="chunk_bytes"):
        LinkConfig(chunk_bytes=size)
