"""Identities as text, in certificates, and back."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from server.pki.certificates import make_authority, make_certificate, make_key
from server.pki.identity import Identity, Role, identity_of, is_valid_at, parse_identity, peer_of
from shared_models.errors import InvalidValueError, UnauthenticatedError
from tests.fleet_pki import DAY, now

NAMES = ["car-1", "Überwagen 7", "100%", "a?b#c@d:e", "車", "x" * 200]


@pytest.mark.parametrize("name", NAMES)
def test_names_come_back_from_a_certificate(name: str) -> None:
    key, identity = make_key(), Identity(role=Role.VEHICLE, name=name)
    authority = make_authority(key, "CA", now(), 10)
    made = make_certificate(make_key().public_key(), identity, (), authority, key, now(), 5)
    again = x509.load_pem_x509_certificate(made.public_bytes(Encoding.PEM))
    assert identity_of(again) == identity
    peer = peer_of(again)
    assert (peer.serial, peer.issuer) == (made.serial_number, authority.subject.public_bytes())
    assert peer.not_after_s - peer.not_before_s == 5 * 86_400 + 300


def test_the_uri() -> None:
    assert Identity(role=Role.VEHICLE, name="car-1").uri == "upcycle://vehicle/car-1"
    assert Identity(role=Role.AUDITOR, name="a b%").uri == "upcycle://auditor/a%20b%25"


@pytest.mark.parametrize("text", ["car-1", "driver/car-1", "vehicle/", "vehicle/a/b", "vehicle/..", "Vehicle/car", ""])
def test_what_is_no_identity(text: str) -> None:
    with pytest.raises(InvalidValueError):
        parse_identity(text)


def test_text_and_back() -> None:
    assert str(parse_identity("operator/olaf")) == "operator/olaf"


def signed(unit: str | None, *names: x509.GeneralName) -> x509.Certificate:
    """A certificate with this unit and these alternative names, made by hand."""
    key = make_key()
    subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit)] if unit else [])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(now() - DAY)
        .not_valid_after(now() + DAY)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key, hashes.SHA256())


URI = x509.UniformResourceIdentifier


@pytest.mark.parametrize(
    ("unit", "names", "message"),
    [
        ("vehicle", (), "got 0"),
        ("vehicle", (x509.DNSName("car-1"),), "got 0"),
        ("vehicle", (URI("spiffe://fleet/car-1"),), "got 0"),
        ("vehicle", (URI("upcycle://vehicle/car-1"), URI("upcycle://vehicle/car-2")), "got 2"),
        ("vehicle", (URI("upcycle://operator/olaf"),), "its unit"),
        (None, (URI("upcycle://vehicle/car-1"),), "its unit"),
        ("root", (URI("upcycle://root/car-1"),), "expected ROLE/NAME"),
        ("vehicle", (URI("upcycle://vehicle/"),), "expected ROLE/NAME"),
        ("vehicle", (URI("upcycle://vehicle/a%2Fb"),), "printable"),
        ("vehicle", (URI("upcycle://vehicle/%ff"),), "utf-8"),
    ],
)
def test_certificates_that_name_nobody(unit: str | None, names: tuple[x509.GeneralName, ...], message: str) -> None:
    with pytest.raises(UnauthenticatedError, match=message):
        identity_of(signed(unit, *names))


def test_foreign_names_beside_ours_do_not_matter() -> None:
    certificate = signed("vehicle", URI("spiffe://x/y"), URI("upcycle://vehicle/car-1"), x509.DNSName("z"))
    assert identity_of(certificate).name == "car-1"


def test_dates() -> None:
    certificate = signed(None)
    assert is_valid_at(certificate, now())
    assert not is_valid_at(certificate, now() + 2 * DAY)
    assert not is_valid_at(certificate, now() - 2 * DAY)
