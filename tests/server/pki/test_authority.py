"""The authority's folder: issuing, rotating, revoking, and its own rotation."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from server.pki import files
from server.pki.authority import Authority, create_authority
from server.pki.certificates import make_key
from server.pki.identity import parse_identity
from server.pki.requests import load_request
from shared_models.errors import ConfigError, NotFoundError
from tests.fleet_pki import DAY, Fleet, now

CAR = parse_identity("vehicle/car-1")


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path / "pki", "vehicle/car-1", "vehicle/car-2")


def states(fleet: Fleet, name: str = "vehicle/car-1") -> list[str]:
    return [each.state(now()) for each in fleet.authority.issued() if str(each.identity) == name]


def is_verified_by_openssl(folder: Path, certificate: Path, purpose: str = "sslclient") -> bool:
    """An independent opinion on a certificate and its authority's list."""
    both = folder / "both.pem"
    both.write_bytes((folder / files.CA).read_bytes() + (folder / files.REVOCATIONS).read_bytes())
    command = ["openssl", "verify", "-CAfile", str(both), "-crl_check", "-purpose", purpose, str(certificate)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_what_each_holder_gets(fleet: Fleet) -> None:
    folder = fleet.authority.folder
    car, server = folder / "vehicle" / "car-1", folder / "server" / "ingest"
    assert {each.name for each in car.iterdir()} == {"ca.pem", "cert.pem", "key.pem"}
    assert {each.name for each in server.iterdir()} == {"ca.pem", "cert.pem", "key.pem", "crl.pem"}
    assert is_verified_by_openssl(folder, car / files.CERTIFICATE)
    assert is_verified_by_openssl(folder, server / files.CERTIFICATE, "sslserver")
    assert not is_verified_by_openssl(folder, car / files.CERTIFICATE, "sslserver")


def test_private_keys_are_their_owners_only(fleet: Fleet) -> None:
    keys = list(fleet.authority.folder.rglob("key.pem"))
    assert len(keys) == 4
    assert {path.stat().st_mode & 0o777 for path in keys} == {0o600}
    assert (fleet.authority.folder / "authorities").stat().st_mode & 0o777 == 0o700


def test_a_second_certificate_is_a_rotation(fleet: Fleet) -> None:
    with pytest.raises(ConfigError, match="rotate vehicle/car-1"):
        fleet.issue("vehicle/car-1")
    before = (fleet.authority.folder / "vehicle/car-1/key.pem").read_bytes()
    fleet.rotate("vehicle/car-1")
    assert (fleet.authority.folder / "vehicle/car-1/key.pem").read_bytes() != before
    assert states(fleet) == ["valid", "valid"]
    with pytest.raises(NotFoundError, match="issue vehicle/car-9"):
        fleet.rotate("vehicle/car-9")


def test_a_rotated_server_keeps_its_hosts(fleet: Fleet) -> None:
    fleet.rotate("server/ingest")
    assert {each.hosts for each in fleet.authority.issued() if each.hosts} == {("localhost", "127.0.0.1")}


def test_after_the_end_of_one_certificate_another_may_be_issued(fleet: Fleet) -> None:
    later = now() + 20 * DAY
    fleet.issue("vehicle/car-1", at=later)
    assert [each.state(later) for each in fleet.authority.issued() if each.identity == CAR] == ["expired", "valid"]
    assert states(fleet) == ["valid", "not yet valid"]


def test_revoking_by_name_and_by_serial(fleet: Fleet) -> None:
    folder = fleet.authority.folder
    fleet.rotate("vehicle/car-1")
    first, second = [each for each in fleet.authority.issued() if each.identity == CAR]
    assert [each.serial for each in fleet.authority.revoke(first.serial.upper(), now())] == [first.serial]
    assert states(fleet) == ["revoked", "valid"]
    assert not is_verified_by_openssl(folder, folder / "issued" / f"{first.serial}.pem")
    assert is_verified_by_openssl(folder, folder / "issued" / f"{second.serial}.pem")
    assert [each.serial for each in fleet.authority.revoke("vehicle/car-1", now())] == [second.serial]
    assert states(fleet) == ["revoked", "revoked"]
    assert states(fleet, "vehicle/car-2") == ["valid"]
    with pytest.raises(NotFoundError, match="pki list"):
        fleet.authority.revoke("vehicle/car-1", now())
    assert (folder / "server/ingest/crl.pem").read_bytes() == (folder / "crl.pem").read_bytes()


def test_rotation_of_the_authority(fleet: Fleet) -> None:
    folder = fleet.authority.folder
    fleet.authority.rotate_authority("Test CA", now(), 100)
    fleet.issue("vehicle/car-3")
    assert len(files.load_certificates(folder / "ca.pem")) == len(files.load_revocations(folder / "crl.pem")) == 2
    assert (folder / "vehicle/car-1/ca.pem").read_bytes() == (folder / "ca.pem").read_bytes()
    fleet.authority.revoke("vehicle/car-1", now())  # of the old one, on the old one's list
    old, new = (folder / "vehicle/car-2/cert.pem", folder / "vehicle/car-3/cert.pem")
    assert is_verified_by_openssl(folder, old)
    assert is_verified_by_openssl(folder, new)
    assert not is_verified_by_openssl(folder, folder / "vehicle/car-1/cert.pem")
    with pytest.raises(ConfigError, match=r"vehicle/car-2"):
        fleet.authority.retire(now())
    retired = fleet.authority.retire(now(), is_forced=True)
    assert len(retired) == len(files.load_certificates(folder / "ca.pem")) == 1
    assert states(fleet, "vehicle/car-2") == ["retired"]
    assert not is_verified_by_openssl(folder, old)
    assert is_verified_by_openssl(folder, new)
    fleet.authority.rotate_authority("Test CA", now(), 100)
    assert sorted(path.name for path in (folder / "authorities").iterdir()) == ["0002", "0003"]
    assert fleet.authority.retire(now(), is_forced=True) != retired


def test_an_encrypted_authority(tmp_path: Path) -> None:
    folder = tmp_path / "pki"
    create_authority(folder, "CA", now(), 100, b"secret")
    assert Authority(folder, b"secret").issue(CAR, now(), 10).is_dir()
    for wrong in (None, b"guess"):
        with pytest.raises(ConfigError, match="passphrase"):
            Authority(folder, wrong).issue(parse_identity("vehicle/car-2"), now(), 10)
        with pytest.raises(ConfigError, match="passphrase"):
            Authority(folder, wrong).revoke("vehicle/car-1", now())
    assert [str(each.identity) for each in Authority(folder).issued()] == ["vehicle/car-1"]  # looking needs no key


def test_an_authority_whose_key_others_can_read_signs_nothing(fleet: Fleet) -> None:
    (fleet.authority.folder / "authorities/0001/key.pem").chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        fleet.issue("vehicle/car-3")
    with pytest.raises(ConfigError, match="chmod 600"):
        fleet.authority.revoke("vehicle/car-1", now())


def test_no_authority_and_a_second_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="pki init"):
        Authority(tmp_path)
    create_authority(tmp_path / "pki", "CA", now(), 100)
    with pytest.raises(ConfigError, match="rotate ca"):
        create_authority(tmp_path / "pki", "CA", now(), 100)


def test_a_holder_that_keeps_its_key(fleet: Fleet, tmp_path: Path) -> None:
    key = make_key()
    named = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "somebody else")])
    request = x509.CertificateSigningRequestBuilder().subject_name(named).sign(key, hashes.SHA256())
    (tmp_path / "car.csr").write_bytes(request.public_bytes(Encoding.PEM))
    identity = parse_identity("vehicle/car-3")
    folder = fleet.authority.issue(identity, now(), 10, (), load_request(tmp_path / "car.csr"))
    assert not (folder / "key.pem").exists()
    (made,) = files.load_certificates(folder / "cert.pem")
    assert made.public_key() == key.public_key()
    assert {str(each.identity) for each in fleet.authority.issued()} >= {"vehicle/car-3"}


def test_requests_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "x.csr"
    path.write_bytes(b"nonsense")
    with pytest.raises(ConfigError, match="certificate request"):
        load_request(path)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    path.write_bytes(request.public_bytes(Encoding.PEM))
    with pytest.raises(ConfigError, match="elliptic curve"):
        load_request(path)
