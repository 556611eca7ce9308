"""The server's folder of certificates: what it takes at the start, and what while it runs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from server.ingest.tls import TlsConfig, TlsFolder
from server.pki import files
from server.pki.certificates import make_key, make_revocations
from server.pki.identity import Peer, peer_of
from shared_models.errors import ConfigError, UnauthenticatedError
from tests.fleet_pki import DAY, Fleet, now


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path / "pki", "vehicle/car-1")


def car(fleet: Fleet) -> Peer:
    return peer_of(files.load_certificates(fleet.authority.folder / "vehicle/car-1/cert.pem")[0])


def is_revoked(tls: TlsFolder, peer: Peer) -> bool:
    try:
        tls.check(peer)
    except UnauthenticatedError as error:
        return "is revoked" in str(error)
    return False


def remove(name: str) -> Callable[[Fleet, Path], None]:
    return lambda fleet, other: (fleet.server / name).unlink()


def take(name: str, source: str) -> Callable[[Fleet, Path], None]:
    """Replace a file by one of another fleet or holder."""
    return lambda fleet, other: files.write(fleet.server / name, (other / source).read_bytes())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (remove("key.pem"), "key.pem: No such file"),
        (remove("cert.pem"), "cert.pem: No such file"),
        (remove("ca.pem"), "ca.pem: No such file"),
        (remove("crl.pem"), "crl.pem: No such file"),
        (take("key.pem", "server/ingest/key.pem"), "not the certificate of key.pem"),
        (take("crl.pem", "crl.pem"), "no list signed by"),
        (lambda fleet, other: fleet.authority.folder.joinpath("x").touch(), None),
    ],
    ids=["no key", "no certificate", "no authority", "no list", "no pair", "foreign list", "as it should be"],
)
def test_starting(fleet: Fleet, tmp_path: Path, change: Callable[[Fleet, Path], None], message: str | None) -> None:
    change(fleet, Fleet(tmp_path / "other", "vehicle/car-1").authority.folder)
    if message is None:
        fleet.tls()
        return
    with pytest.raises(ConfigError, match=message):
        fleet.tls()


def test_a_foreign_certificate_with_its_key(fleet: Fleet, tmp_path: Path) -> None:
    other = Fleet(tmp_path / "other", "vehicle/car-1")
    for name in ("key.pem", "cert.pem"):
        files.write(fleet.server / name, (other.server / name).read_bytes())
    with pytest.raises(ConfigError, match="not issued by any authority"):
        fleet.tls()


def test_a_forged_list_in_the_authoritys_name(fleet: Fleet) -> None:
    (authority,) = files.load_certificates(fleet.server / "ca.pem")
    forged = make_revocations([], 99, authority, make_key(), now())
    tls, peer = fleet.tls(), car(fleet)
    fleet.authority.revoke("vehicle/car-1", now())
    assert is_revoked(tls, peer)
    files.write(fleet.server / "crl.pem", files.to_pem([forged]))
    assert is_revoked(tls, peer)
    with pytest.raises(ConfigError, match="no list signed by"):
        fleet.tls()


def test_a_vehicles_certificate_makes_no_server(fleet: Fleet) -> None:
    folder = fleet.authority.folder / "vehicle/car-1"
    files.write(folder / "crl.pem", (fleet.server / "crl.pem").read_bytes())
    with pytest.raises(ConfigError, match="got one of a vehicle"):
        TlsFolder(TlsConfig(folder=folder))


def test_an_expired_certificate_at_the_start(fleet: Fleet) -> None:
    later_s = (now() + 11 * DAY).timestamp()
    with pytest.raises(ConfigError, match="valid until"):
        TlsFolder(TlsConfig(folder=fleet.server), now_s=lambda: later_s)


def test_revocations_count_at_the_next_look(fleet: Fleet) -> None:
    clock = {"now_s": 0.0}
    tls = TlsFolder(TlsConfig(folder=fleet.server, check_s=5.0), clock_s=lambda: clock["now_s"])
    fleet.authority.revoke("vehicle/car-1", now())
    clock["now_s"] = 4.9
    assert not is_revoked(tls, car(fleet))
    clock["now_s"] = 5.0
    assert is_revoked(tls, car(fleet))


def test_dates_of_a_peer(fleet: Fleet) -> None:
    tls, peer = fleet.tls(), car(fleet)
    tls.check(peer)
    with pytest.raises(UnauthenticatedError, match="pki rotate"):
        tls.check(replace(peer, not_after_s=now().timestamp() - 1))
    with pytest.raises(UnauthenticatedError, match="not yet"):
        tls.check(replace(peer, not_before_s=now().timestamp() + 60))


def test_the_same_serial_of_another_authority_is_not_revoked(fleet: Fleet) -> None:
    tls, peer = fleet.tls(), car(fleet)
    fleet.authority.revoke("vehicle/car-1", now())
    assert is_revoked(tls, peer)
    assert not is_revoked(tls, replace(peer, issuer=b"another"))


@pytest.mark.parametrize("damage", ["gone", "cut off", "older"])
def test_a_list_that_cannot_be_used_leaves_the_former_in_force(
    fleet: Fleet, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    path, empty = fleet.server / "crl.pem", (fleet.server / "crl.pem").read_bytes()
    fleet.authority.revoke("vehicle/car-1", now())
    tls, peer = fleet.tls(), car(fleet)
    good = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        files.write(path, good[:-20] if damage == "cut off" else empty)
    with caplog.at_level(logging.ERROR):
        assert is_revoked(tls, peer)
        assert is_revoked(tls, peer)
    assert [record.levelname for record in caplog.records] == ["ERROR"]  # said once, not at every call
    files.write(path, good)
    assert is_revoked(tls, peer)


def test_a_key_that_does_not_fit_keeps_no_revocation_from_being_noticed(fleet: Fleet, tmp_path: Path) -> None:
    tls = fleet.tls()
    files.write(fleet.server / "key.pem", (fleet.authority.folder / "vehicle/car-1/key.pem").read_bytes())
    fleet.authority.revoke("vehicle/car-1", now())
    assert is_revoked(tls, car(fleet))


def test_grpc_gets_a_new_configuration_only_after_a_change(fleet: Fleet) -> None:
    tls = fleet.tls()
    assert tls._new_configuration() is not None
    assert tls._new_configuration() is None
    fleet.rotate("server/ingest")
    assert tls._new_configuration() is not None
    assert tls._new_configuration() is None


def test_half_a_rotation_is_not_used(fleet: Fleet, caplog: pytest.LogCaptureFixture) -> None:
    tls, new = fleet.tls(), Fleet(fleet.authority.folder.parent / "other", "vehicle/car-1").server
    before = tls._latest()[0]
    files.write(fleet.server / "key.pem", (new / "key.pem").read_bytes())
    assert tls._latest()[0] == before
    assert "not the certificate of key.pem" in caplog.text
    files.write(fleet.server / "cert.pem", (new / "cert.pem").read_bytes())
    assert tls._latest()[0] != before


def test_a_key_that_others_can_read_is_warned_of(fleet: Fleet, caplog: pytest.LogCaptureFixture) -> None:
    (fleet.server / "key.pem").chmod(0o644)
    fleet.tls()
    assert "chmod 600" in caplog.text


def test_configuration() -> None:
    with pytest.raises(ConfigError, match="check_s"):
        TlsConfig(folder=Path(), check_s=-1.0)
