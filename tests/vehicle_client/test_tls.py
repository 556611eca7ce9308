"""The vehicle's files, and what its own certificate says."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from server.pki import files as pem
from server.pki.certificates import make_key
from shared_models.errors import ConfigError, PermissionDeniedError, UnauthenticatedError
from tests.fleet_pki import DAY, Fleet, now
from vehicle_client.tls import TlsFiles, read_own, tls_files


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path / "pki", "vehicle/car-1", "vehicle/Käfer 2%", "operator/olaf")


def test_a_folder_or_three_files() -> None:
    folder = Path("d")
    whole = TlsFiles(ca=folder / "ca.pem", certificate=folder / "cert.pem", key=folder / "key.pem")
    assert tls_files(folder) == whole
    assert tls_files(folder, key=Path("k")) == replace(whole, key=Path("k"))
    assert tls_files(None, Path("a"), Path("b"), Path("c")) == TlsFiles(
        ca=Path("a"), certificate=Path("b"), key=Path("c")
    )
    assert tls_files(None) is None
    with pytest.raises(ConfigError, match="--tls DIR"):
        tls_files(None, ca=Path("a"))


@pytest.mark.parametrize("name", ["car-1", "Käfer 2%"])
def test_whose_it_is_and_until_when(fleet: Fleet, name: str) -> None:
    own = read_own(fleet.files(f"vehicle/{name}"))
    own.check(now().timestamp(), name)
    (issued,) = pem.load_certificates(fleet.files(f"vehicle/{name}").certificate)
    assert (own.vehicle_id, own.not_after_s) == (name, issued.not_valid_after_utc.timestamp())
    assert 9.9 < own.days_left(now().timestamp()) <= 10


def test_expired_and_not_yet_valid(fleet: Fleet) -> None:
    own = read_own(fleet.files("vehicle/car-1"))
    with pytest.raises(UnauthenticatedError, match=r"has expired on \d{4}-"):
        own.check(own.not_after_s + 1)
    with pytest.raises(UnauthenticatedError, match="check this clock"):
        own.check(own.not_before_s - 1)


def test_an_expired_file_can_be_read_to_say_so(fleet: Fleet) -> None:
    fleet.issue("vehicle/old", at=now() - 9 * DAY, days=8)
    own = read_own(fleet.files("vehicle/old"))
    with pytest.raises(UnauthenticatedError, match="has expired"):
        own.check(now().timestamp())


@pytest.mark.parametrize(("left_days", "is_warned"), [(13, True), (15, False)])
def test_a_warning_before_the_end(
    fleet: Fleet, caplog: pytest.LogCaptureFixture, left_days: int, is_warned: bool
) -> None:
    own = read_own(fleet.files("vehicle/car-1"))
    replace(own, not_before_s=0.0).check(own.not_after_s - left_days * 86_400)
    assert ("expires on" in caplog.text) == is_warned


@pytest.mark.parametrize("holder", ["vehicle/Käfer 2%", "operator/olaf"])
def test_another_ones_certificate(fleet: Fleet, holder: str) -> None:
    with pytest.raises(PermissionDeniedError, match="driving as 'car-1'"):
        read_own(fleet.files(holder)).check(now().timestamp(), "car-1")


def test_of_another_authority(fleet: Fleet, tmp_path: Path) -> None:
    foreign = Fleet(tmp_path / "other", "vehicle/car-1").files("vehicle/car-1")
    with pytest.raises(UnauthenticatedError, match=r"by an authority in .*ca.pem"):
        read_own(replace(foreign, ca=fleet.server / "ca.pem"))


def test_a_servers_certificate_is_none_for_a_vehicle(fleet: Fleet) -> None:
    with pytest.raises(UnauthenticatedError, match="purpose"):
        read_own(fleet.files("server/ingest"))


def test_after_a_rotation_of_the_authority_old_and_new_are_believed(fleet: Fleet) -> None:
    fleet.authority.rotate_authority("Test CA", now(), 100)
    assert read_own(fleet.files("vehicle/car-1")).vehicle_id == "car-1"
    fleet.rotate("vehicle/car-1")
    assert read_own(fleet.files("vehicle/car-1")).vehicle_id == "car-1"


def test_a_key_that_others_can_read_is_warned_of(fleet: Fleet, caplog: pytest.LogCaptureFixture) -> None:
    files = fleet.files("vehicle/car-1")
    with caplog.at_level(logging.WARNING):
        read_own(files)
        assert not caplog.records
        files.key.chmod(0o644)
        read_own(files)
    assert "chmod 600" in caplog.text


@pytest.mark.parametrize("field", ["ca", "certificate", "key"])
@pytest.mark.parametrize("content", [None, b"", b"nonsense"])
def test_missing_and_damaged_files(fleet: Fleet, tmp_path: Path, field: str, content: bytes | None) -> None:
    wrong = tmp_path / "wrong.pem"
    if content is not None:
        wrong.write_bytes(content)
    with pytest.raises(ConfigError, match=r"wrong\.pem"):
        read_own(replace(fleet.files("vehicle/car-1"), **{field: wrong}))


def test_a_key_that_is_another_ones_or_encrypted(fleet: Fleet, tmp_path: Path) -> None:
    files = fleet.files("vehicle/car-1")
    with pytest.raises(ConfigError, match="its own unencrypted key"):
        read_own(replace(files, key=fleet.files("operator/olaf").key))
    pem.write(tmp_path / "key.pem", pem.key_to_pem(make_key(), b"secret"), is_secret=True)
    with pytest.raises(ConfigError, match="its own unencrypted key"):
        read_own(replace(files, key=tmp_path / "key.pem"))
