"""Certificates and revocation lists, as `cryptography`'s own verifier of paths sees them."""

from __future__ import annotations

import ipaddress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID

from server.pki.certificates import hosts_of, make_authority, make_certificate, make_key, make_revocations
from server.pki.identity import Identity, Role
from shared_models.errors import InvalidValueError
from tests.fleet_pki import DAY, now

KEY = make_key()
AUTHORITY = make_authority(KEY, "CA", now(), 10)
CAR = Identity(role=Role.VEHICLE, name="car-1")
SERVER = Identity(role=Role.SERVER, name="ingest")


def make(identity: Identity, *hosts: str, days: int = 5) -> x509.Certificate:
    return make_certificate(make_key().public_key(), identity, hosts, AUTHORITY, KEY, now(), days)


def builder(*trusted: x509.Certificate) -> verification.PolicyBuilder:
    return verification.PolicyBuilder().store(verification.Store(trusted))


def test_a_servers_certificate_verifies_for_its_hosts_only() -> None:
    made = make(SERVER, "ingest.example.org", "192.168.1.7", "::1")
    for name in (x509.DNSName("ingest.example.org"), x509.IPAddress(ipaddress.ip_address("192.168.1.7"))):
        assert builder(AUTHORITY).build_server_verifier(name).verify(made, [])
    with pytest.raises(verification.VerificationError):
        builder(AUTHORITY).build_server_verifier(x509.DNSName("other.example.org")).verify(made, [])
    assert hosts_of(made) == ("ingest.example.org", "192.168.1.7", "::1")


def test_a_vehicles_certificate_verifies_as_a_clients_only() -> None:
    made = make(CAR)
    verified = builder(AUTHORITY).build_client_verifier().verify(made, [])
    assert verified.subjects == [x509.UniformResourceIdentifier("upcycle://vehicle/car-1")]
    with pytest.raises(verification.VerificationError):
        builder(AUTHORITY).build_server_verifier(x509.DNSName("car-1")).verify(made, [])
    usage = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert hosts_of(made) == ()


def test_another_authority_of_the_same_name_is_another() -> None:
    other = make_authority(make_key(), "CA", now(), 10)
    assert other.subject != AUTHORITY.subject
    with pytest.raises(verification.VerificationError):
        builder(other).build_client_verifier().verify(make(CAR), [])


def test_keys_are_on_p256_and_serials_differ() -> None:
    first, second = make(CAR), make(CAR)
    assert isinstance(first.public_key().curve, ec.SECP256R1)  # type: ignore[union-attr]
    assert first.serial_number != second.serial_number


def test_nothing_outlives_its_authority() -> None:
    assert make(CAR, days=1000).not_valid_after_utc == AUTHORITY.not_valid_after_utc
    with pytest.raises(InvalidValueError, match="would end"):
        make_certificate(make_key().public_key(), CAR, (), AUTHORITY, KEY, now() + 11 * DAY, 5)


@pytest.mark.parametrize(
    ("identity", "hosts", "message"),
    [
        (SERVER, (), "expected host names for a server"),
        (CAR, ("car-1.example.org",), "for nobody else"),
        (SERVER, ("bücher.example",), "expected a DNS name in ASCII"),
    ],
)
def test_hosts_belong_to_servers(identity: Identity, hosts: tuple[str, ...], message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        make(identity, *hosts)


def test_a_revocation_list() -> None:
    made = make_revocations([(7, now()), (9, now())], 3, AUTHORITY, KEY, now())
    assert made.is_signature_valid(KEY.public_key())
    assert not made.is_signature_valid(make_key().public_key())
    assert {each.serial_number for each in made} == {7, 9}
    assert made.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 3
    assert made.next_update_utc == AUTHORITY.not_valid_after_utc
