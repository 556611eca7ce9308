"""`upcycle server pki`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from server.cli import app
from server.pki.cli import PASSPHRASE
from shared_models.errors import ConfigError, InvalidValueError, NotFoundError


@pytest.fixture
def pki(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(PASSPHRASE, raising=False)

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["pki", *arguments, "--pki", str(tmp_path / "pki")])

    return run


def listed(pki) -> list[tuple[str, str]]:
    rows = [json.loads(line) for line in pki("list", "--json").stdout.splitlines()]
    return [(row["identity"], row["state"]) for row in rows]


def test_a_fleet_from_the_first_day_to_the_last(pki, tmp_path: Path) -> None:
    made = pki("init")
    assert made.exit_code == 0, made.output
    assert PASSPHRASE in made.stderr
    assert pki("issue", "server/ingest", "--host", "localhost").stdout.strip() == str(tmp_path / "pki/server/ingest")
    assert pki("issue", "vehicle/car-1", "--days", "30").exit_code == 0
    assert pki("rotate", "vehicle/car-1").exit_code == 0
    assert listed(pki) == [("server/ingest", "valid"), ("vehicle/car-1", "valid"), ("vehicle/car-1", "valid")]
    assert pki("rotate", "vehicle/car-1", "--revoke-old").exit_code == 0
    assert sorted(listed(pki)) == [
        ("server/ingest", "valid"),
        ("vehicle/car-1", "revoked"),
        ("vehicle/car-1", "revoked"),
        ("vehicle/car-1", "valid"),
    ]
    assert "revoked vehicle/car-1" in pki("revoke", "vehicle/car-1").stdout
    assert isinstance(pki("revoke", "vehicle/car-1").exception, NotFoundError)
    assert "new authority" in pki("rotate", "ca").stdout
    assert isinstance(pki("retire").exception, ConfigError)
    assert pki("rotate", "server/ingest", "--revoke-old").exit_code == 0
    assert "retired CN=Upcycle fleet CA" in pki("retire").stdout
    assert "only one authority" in pki("retire").stdout
    assert "server/ingest" in pki("list").stdout


def test_a_passphrase_from_the_environment(pki, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSPHRASE, "secret")
    assert pki("init").stderr == ""
    assert b"ENCRYPTED" in (tmp_path / "pki/authorities/0001/key.pem").read_bytes()
    assert pki("issue", "vehicle/car-1").exit_code == 0
    assert b"ENCRYPTED" not in (tmp_path / "pki/vehicle/car-1/key.pem").read_bytes()  # it must start unattended
    monkeypatch.delenv(PASSPHRASE)
    assert isinstance(pki("issue", "vehicle/car-2").exception, ConfigError)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("issue", "car-1"), InvalidValueError, "expected ROLE/NAME"),
        (("issue", "server/ingest"), InvalidValueError, "host names"),
        (("issue", "vehicle/car-1", "--host", "x"), InvalidValueError, "host names"),
        (("issue", "vehicle/car-1", "--csr", "nowhere.csr"), ConfigError, r"nowhere.csr"),
        (("rotate", "vehicle/car-1"), NotFoundError, "issue vehicle/car-1"),
        (("init",), ConfigError, "already"),
    ],
)
def test_wrong_arguments(pki, arguments: tuple[str, ...], error: type[Exception], message: str) -> None:
    pki("init")
    result = pki(*arguments)
    assert isinstance(result.exception, error)
    assert message in str(result.exception)


def test_without_an_authority(pki) -> None:
    assert isinstance(pki("list").exception, ConfigError)
