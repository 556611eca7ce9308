"""Tags of vehicles: keyed, by period, and their key's file."""

from __future__ import annotations

import hashlib
import hmac
import os
import subprocess
from pathlib import Path

import pytest

from server.repositories.pseudonym import (
    KEY_FILE,
    KEY_VARIABLE,
    PseudonymConfig,
    Pseudonyms,
    open_pseudonyms,
    vehicle_tag,
)
from shared_models.errors import ConfigError, InvalidValueError, NotFoundError

KEY = bytes(range(32))
DAY_NS = 86_400 * 10**9
NOW_NS = 700 * 30 * DAY_NS + 5


@pytest.fixture(autouse=True)
def _no_key_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)


def test_the_tag_as_openssl_computes_it() -> None:
    text = b"upcycle.pseudonym.v1\n700\ncar-1"
    command = ["openssl", "dgst", "-sha256", "-mac", "HMAC", "-macopt", f"hexkey:{KEY.hex()}"]
    independent = subprocess.run(command, input=text, capture_output=True, check=True).stdout.decode().split()[-1]
    assert independent == hmac.new(KEY, text, hashlib.sha256).hexdigest()
    assert Pseudonyms(KEY).tag("car-1", NOW_NS) == independent[:16]


def test_tags_change_with_period_vehicle_and_key() -> None:
    pseudonyms = Pseudonyms(KEY)
    tags = {
        pseudonyms.tag("car-1", NOW_NS),
        pseudonyms.tag("car-1", NOW_NS + 29 * DAY_NS),  # the same period
        pseudonyms.tag("car-1", NOW_NS + 30 * DAY_NS),
        pseudonyms.tag("car-1", NOW_NS - 6),
        pseudonyms.tag("car-2", NOW_NS),
        Pseudonyms(KEY[::-1]).tag("car-1", NOW_NS),
    }
    assert len(tags) == 5
    assert pseudonyms.starts_ns(pseudonyms.period(NOW_NS)) == NOW_NS - 5


def test_whose_scene_it_is() -> None:
    pseudonyms = Pseudonyms(KEY)
    stored = pseudonyms.stored_name("car-1", NOW_NS)
    assert pseudonyms.is_of(stored, "car-1", NOW_NS)
    assert not pseudonyms.is_of(stored, "car-2", NOW_NS)
    assert not pseudonyms.is_of(stored, "car-1", NOW_NS + 30 * DAY_NS)
    assert pseudonyms.is_of("car-1", "car-1", NOW_NS)  # stored before there were pseudonyms
    assert pseudonyms.find(stored, NOW_NS, ["car-2", "car-1"]) == "car-1"
    with pytest.raises(NotFoundError, match="another key"):
        pseudonyms.find(stored, NOW_NS, ["car-2"])


def test_what_is_shown() -> None:
    pseudonyms = Pseudonyms(KEY)
    tag = pseudonyms.tag("car-1", NOW_NS)
    assert vehicle_tag(pseudonyms.stored_name("car-1", NOW_NS)) == tag
    plain = vehicle_tag("car-1")
    assert (len(plain), len(tag)) == (8, 16)
    assert len(vehicle_tag("tag:nonsense")) == 8


def test_the_key_is_made_once_and_its_owners_only(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=KEY_VARIABLE):
        open_pseudonyms(tmp_path)
    assert not list(tmp_path.iterdir())
    before = os.umask(0)
    try:
        first = open_pseudonyms(tmp_path, is_new_allowed=True)
    finally:
        os.umask(before)
    assert [path.name for path in tmp_path.iterdir()] == [KEY_FILE]
    assert (tmp_path / KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert open_pseudonyms(tmp_path, is_new_allowed=True).tag("a", 0) == open_pseudonyms(tmp_path).tag("a", 0)
    assert first.tag("a", 0) == open_pseudonyms(tmp_path).tag("a", 0)
    other = tmp_path / "other"
    other.mkdir()
    assert open_pseudonyms(other, is_new_allowed=True).tag("a", 0) != first.tag("a", 0)


def test_a_key_from_the_environment_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_pseudonyms(tmp_path, is_new_allowed=True)
    monkeypatch.setenv(KEY_VARIABLE, KEY.hex())
    assert open_pseudonyms(tmp_path).tag("car-1", NOW_NS) == Pseudonyms(KEY).tag("car-1", NOW_NS)
    for wrong in ("secret", "ab" * 31):
        monkeypatch.setenv(KEY_VARIABLE, wrong)
        with pytest.raises(ConfigError, match=KEY_VARIABLE):
            open_pseudonyms(tmp_path)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_that_others_can_read_stops_the_start(tmp_path: Path, mode: int) -> None:
    open_pseudonyms(tmp_path, is_new_allowed=True)
    (tmp_path / KEY_FILE).chmod(mode)
    with pytest.raises(ConfigError, match="chmod 600"):
        open_pseudonyms(tmp_path)


@pytest.mark.parametrize("content", [b"", b"xyz", "ä".encode(), b"ab" * 31])
def test_a_damaged_key_stops_the_start_and_is_not_replaced(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / KEY_FILE
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match=KEY_FILE):
        open_pseudonyms(tmp_path, is_new_allowed=True)
    assert path.read_bytes() == content


def test_limits() -> None:
    with pytest.raises(ConfigError, match="at least 32 bytes"):
        Pseudonyms(b"short")
    with pytest.raises(InvalidValueError, match="period_days"):
        PseudonymConfig(period_days=0)
