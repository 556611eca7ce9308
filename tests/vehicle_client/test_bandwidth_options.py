from __future__ import annotations

from pathlib import Path

import pytest

from shared_models.errors import ConfigError
from vehicle_client.bandwidth_options import bandwidth_config

TEXT = """
link = "command:which-link --quiet,really"
recheck_s = 5

[cellular]
rate_bytes_s = 125000
daily_bytes = 200000000
codecs = {float16 = 0.6, int4 = 0.0}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "bandwidth.toml"
    path.write_text(TEXT)
    return path


def test_without_options_nothing_is_limited():
    assert bandwidth_config(None, None) is None


def test_a_link_with_its_settings():
    config = bandwidth_config("cellular,daily_bytes=1000,rate_bytes_s=50", None)
    assert config is not None
    assert (config.link, config.cellular.daily_bytes, config.cellular.rate_bytes_s) == ("cellular", 1000, 50.0)
    assert config.wifi.daily_bytes is None


def test_a_file(path: Path):
    config = bandwidth_config(None, path)
    assert config is not None
    assert config.link == "command:which-link --quiet,really"
    assert dict(config.cellular.codecs) == {"float16": 0.6, "int4": 0.0}
    assert sorted(config.codec_tables()) == ["cellular", "ethernet", "wifi"]


def test_the_link_of_the_command_line_goes_before_the_file(path: Path):
    config = bandwidth_config("cellular,daily_bytes=7", path)
    assert config is not None
    assert (config.link, config.cellular.daily_bytes, config.cellular.rate_bytes_s) == ("cellular", 7, 125000.0)
    assert sorted(config.codec_tables()) == ["cellular"]
    asked = bandwidth_config("file:/run/link,with,commas", path)
    assert asked is not None
    assert asked.link == "file:/run/link,with,commas"


@pytest.mark.parametrize(
    ("link", "text", "message"),
    [
        ("lte", None, "expected cellular, wifi, ethernet, file:PATH or command:LINE, got 'lte'"),
        ("wifi,fast", None, "expected KEY=VALUE, got 'fast'"),
        ("wifi,speed=3", None, "wifi.speed: unknown key"),
        ("wifi,daily_bytes=lots", None, "wifi.daily_bytes"),
        ("wifi,daily_bytes=-1", None, "daily_bytes: expected an integer"),
        (None, "link = ", "not valid TOML"),
        (None, "cable = 3", "cable: unknown key"),
        ("wifi,daily_bytes=3", "wifi = 3", "expected a table"),
    ],
)
def test_wrong_options_are_refused(tmp_path: Path, link, text, message):
    path = None
    if text is not None:
        path = tmp_path / "wrong.toml"
        path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        bandwidth_config(link, path)


def test_a_missing_file(tmp_path: Path):
    with pytest.raises(ConfigError, match="cannot be read"):
        bandwidth_config(None, tmp_path / "none.toml")
