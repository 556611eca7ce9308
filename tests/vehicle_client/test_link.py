from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from shared_models.errors import ConfigError
from tests.loopback import Hours
from vehicle_client.link import LinkSource


def test_a_given_link_stays():
    source = LinkSource("wifi", "cellular", 1.0)
    assert (source.current(), source.possible()) == ("wifi", ("wifi",))


@pytest.mark.parametrize("given", ["lte", "", "none", "file:", "command: ", "wifi:5"])
def test_an_unknown_link_lists_the_known_ones(given: str):
    with pytest.raises(ConfigError, match="expected cellular, wifi, ethernet, file:PATH or command:LINE"):
        LinkSource(given, "cellular", 1.0)


def test_a_file_is_read_again_when_it_is_time(tmp_path: Path):
    path, hours = tmp_path / "link", Hours()
    path.write_text("WiFi\n")
    source = LinkSource(f"file:{path}", "cellular", 30.0, hours.clock_s, beside=lambda work: work())
    assert source.current() == "wifi"
    path.write_text("none")
    hours.now_s = 29.0
    assert source.current() == "wifi"
    hours.now_s = 30.0
    assert source.current() == "none"
    assert source.possible() == ("cellular", "wifi", "ethernet")


def test_a_missing_or_strange_answer_is_the_fallback_and_warned_of_once(tmp_path: Path, caplog):
    path, hours = tmp_path / "link", Hours()
    source = LinkSource(f"file:{path}", "cellular", 1.0, hours.clock_s, beside=lambda work: work())
    with caplog.at_level(logging.WARNING):
        for text in (None, None, "satellite", "satellite", "wifi"):
            if text:
                path.write_text(text)
            assert source.current() == ("wifi" if text == "wifi" else "cellular")
            hours.now_s += 2.0
    assert len(caplog.records) == 2
    assert "got 'satellite'; taken for cellular" in caplog.text


def test_a_command_is_asked_beside_the_sender():
    hours, waiting, answers = Hours(), [], iter(["wifi\n", "ethernet\n"])
    source = LinkSource(
        "command:which-link", "cellular", 10.0, hours.clock_s, lambda line: next(answers), waiting.append
    )
    assert source.current() == "wifi"
    hours.now_s = 10.0
    assert [source.current(), source.current()] == ["wifi", "wifi"]
    assert len(waiting) == 1  # one question at a time
    waiting.pop()()
    assert source.current() == "ethernet"


def test_a_real_command():
    word = f"command:{sys.executable} -c \"print('ethernet')\""
    assert LinkSource(word, "cellular", 1.0).current() == "ethernet"
    failing = f'command:{sys.executable} -c "raise SystemExit(3)"'
    assert LinkSource(failing, "wifi", 1.0).current() == "wifi"
    assert LinkSource("command:no-such-program-anywhere", "wifi", 1.0).current() == "wifi"


def test_a_command_that_hangs_is_the_fallback():
    def hang(line: str) -> str:
        raise subprocess.TimeoutExpired(line, 10.0)

    assert LinkSource("command:hang", "cellular", 1.0, run=hang).current() == "cellular"
