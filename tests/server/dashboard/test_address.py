"""Where the dashboard listens, and which Host headers it believes."""

from __future__ import annotations

import pytest

from server.dashboard.address import Address
from shared_models.errors import ConfigError


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "dashboard.example"])
def test_only_loopback_unless_told(host: str) -> None:
    with pytest.raises(ConfigError, match="--insecure-public"):
        Address(host=host)
    assert not Address(host=host, is_public_allowed=True).is_loopback


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback(host: str) -> None:
    assert Address(host=host).is_loopback


def test_wrong_port() -> None:
    with pytest.raises(ConfigError, match="65535"):
        Address(port=70_000)


@pytest.mark.parametrize(
    ("header", "on_loopback", "in_public"),
    [
        ("127.0.0.1:8350", True, True),
        ("localhost", True, True),
        ("LOCALHOST:1", True, True),
        ("[::1]:8350", True, True),
        ("evil.example", False, False),
        ("127.0.0.1.evil.example:8350", False, False),
        ("localhost.evil.example", False, False),
        ("", False, False),
        ("192.0.2.7:8350", False, True),
        ("[2001:db8::1]", False, True),
        ("fleet.example:443", True, True),
        ("Fleet.Example.", True, True),
    ],
)
def test_host_headers(header: str, on_loopback: bool, in_public: bool) -> None:
    names = ("fleet.example",)
    assert Address(names=names).accepts(header) is on_loopback
    assert Address(host="0.0.0.0", is_public_allowed=True, names=names).accepts(header) is in_public


def test_listens_on_a_free_port_and_names_a_taken_one() -> None:
    with Address(port=0).listen() as first:
        port = first.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port}"):
            Address(port=port).listen()
