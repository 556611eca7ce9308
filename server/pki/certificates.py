"""Makes and signs certificates and revocation lists (X.509, RFC 5280); EC keys on P-256, SHA-256. No files here."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from server.pki.identity import Identity, Role
from shared_models.errors import InvalidValueError

BACKDATED = timedelta(minutes=5)  # clocks of vehicles differ
MAX_COMMON_NAME = 64  # RFC 5280, upper bound of a common name


def make_key() -> ec.EllipticCurvePrivateKey:
    """A new private key."""
    return ec.generate_private_key(ec.SECP256R1())


def make_authority(key: ec.EllipticCurvePrivateKey, name: str, now: datetime, days: int) -> x509.Certificate:
    """The self-signed certificate of an authority; its subject ends with digits of its key, so no two are alike."""
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{name[:50]} {identifier.digest.hex()[:12]}")])
    usage = _key_usage(key_cert_sign=True, crl_sign=True, digital_signature=False)
    builder = _builder(subject, subject, key.public_key(), now, now + timedelta(days=days))
    return (
        builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )


def make_certificate(
    public_key: ec.EllipticCurvePublicKey,
    identity: Identity,
    hosts: Sequence[str],
    issuer: x509.Certificate,
    issuer_key: ec.EllipticCurvePrivateKey,
    now: datetime,
    days: int,
) -> x509.Certificate:
    """A certificate for `identity`, not longer valid than its issuer's.

    hosts: DNS names and IP addresses of a server; nobody else has any.

    Raises:
        InvalidValueError: a server without hosts, hosts of somebody else, or no days left.
    """
    is_server = identity.role is Role.SERVER
    if bool(hosts) != is_server:
        raise InvalidValueError(f"{identity}: expected host names for a server and for nobody else, got {list(hosts)}")
    not_after = min(now + timedelta(days=days), issuer.not_valid_after_utc)
    if not_after <= now:
        raise InvalidValueError(f"{identity}: the certificate would end at {not_after:%Y-%m-%d}; give more days")
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, str(identity.role)),
            x509.NameAttribute(NameOID.COMMON_NAME, identity.name[:MAX_COMMON_NAME]),
        ]
    )
    names = [x509.UniformResourceIdentifier(identity.uri), *(_alternative_name(host) for host in hosts)]
    purpose = ExtendedKeyUsageOID.SERVER_AUTH if is_server else ExtendedKeyUsageOID.CLIENT_AUTH
    builder = _builder(subject, issuer.subject, public_key, now, not_after)
    return (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(_public_key(issuer)), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )


def make_revocations(
    revoked: Iterable[tuple[int, datetime]],
    number: int,
    issuer: x509.Certificate,
    issuer_key: ec.EllipticCurvePrivateKey,
    now: datetime,
) -> x509.CertificateRevocationList:
    """The list of one authority's revoked serials and when; `number` grows with each list.

    It names no earlier next update than the authority's own end: it has news only when something is revoked.
    """
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.subject)
        .last_update(now - BACKDATED)
        .next_update(max(issuer.not_valid_after_utc, now + timedelta(days=1)))
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(_public_key(issuer)), critical=False)
    )
    for serial, at in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(at).build()
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(issuer_key, hashes.SHA256())


def hosts_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """The DNS names and IP addresses that a server's certificate is for; none in others."""
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = (str(address) for address in names.get_values_for_type(x509.IPAddress))
    return (*names.get_values_for_type(x509.DNSName), *addresses)


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, now: datetime, not_after: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(not_after)
    )


def _key_usage(digital_signature: bool, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _alternative_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return x509.DNSName(host)
    except ValueError as error:
        raise InvalidValueError(f"host {host[:80]!r}: expected a DNS name in ASCII or an IP address") from error


def _public_key(certificate: x509.Certificate) -> ec.EllipticCurvePublicKey:
    key = certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise InvalidValueError(f"certificate {certificate.serial_number:x}: expected a key on P-256")
    return key
