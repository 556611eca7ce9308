"""Who a certificate names: a role and a name, as docs/protocol.md (Identity) writes them into it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from urllib.parse import quote, unquote, urlsplit

from cryptography import x509
from cryptography.x509.oid import NameOID

from shared_models.errors import InvalidValueError, UnauthenticatedError
from shared_models.records import check

SCHEME = "upcycle"


class Role(StrEnum):
    """What a certificate is for. `server` is no role of a caller: such a certificate opens no connection of its own."""

    VEHICLE = "vehicle"
    OPERATOR = "operator"
    AUDITOR = "auditor"
    SERVER = "server"


CALLERS = frozenset({Role.VEHICLE, Role.OPERATOR, Role.AUDITOR})


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A role and, within it, a name."""

    role: Role
    name: str

    def __post_init__(self) -> None:
        check.name("Identity", "name", self.name)
        if self.name in {".", ".."}:
            raise InvalidValueError(f"Identity.name: expected a name that can name a folder, got {self.name!r}")

    def __str__(self) -> str:
        return f"{self.role}/{self.name}"

    @property
    def uri(self) -> str:
        """`upcycle://ROLE/NAME`, the name's UTF-8 percent-encoded; the URI in the certificate's alternative names."""
        return f"{SCHEME}://{self.role}/{quote(self.name, safe='')}"


def parse_identity(text: str) -> Identity:
    """The identity written ROLE/NAME.

    Raises:
        InvalidValueError: no known role, or no name.
    """
    role, _, name = text.partition("/")
    if role not in set(Role) or not name:
        raise InvalidValueError(f"identity: expected ROLE/NAME with a role of {', '.join(Role)}; got {text[:80]!r}")
    return Identity(role=Role(role), name=name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Whoever holds a checked certificate.

    issuer: the issuing authority's name as DER; with `serial` it names the certificate.
    not_before_s, not_after_s: seconds since the epoch between which the certificate is valid.
    """

    identity: Identity
    issuer: bytes
    serial: int
    not_before_s: float
    not_after_s: float


def peer_of(certificate: x509.Certificate) -> Peer:
    """Who `certificate` names; its signature is not looked at.

    Raises:
        UnauthenticatedError: it names nobody, or more than one.
    """
    return Peer(
        identity=identity_of(certificate),
        issuer=certificate.issuer.public_bytes(),
        serial=certificate.serial_number,
        not_before_s=certificate.not_valid_before_utc.timestamp(),
        not_after_s=certificate.not_valid_after_utc.timestamp(),
    )


def identity_of(certificate: x509.Certificate) -> Identity:
    """The one identity in the URI of `certificate`; its organizational unit must say the same role.

    Raises:
        UnauthenticatedError: it names nobody, or more than one.
    """
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = [uri for uri in names.get_values_for_type(x509.UniformResourceIdentifier) if _is_ours(uri)]
    except x509.ExtensionNotFound:
        uris = []
    if len(uris) != 1:
        raise UnauthenticatedError(
            f"certificate {certificate.serial_number:x}: expected one alternative name {SCHEME}://ROLE/NAME, "
            f"got {len(uris)}; issue one with `upcycle server pki issue`"
        )
    parts = urlsplit(uris[0])
    units = [str(each.value) for each in certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)]
    if units != [parts.netloc]:
        raise UnauthenticatedError(
            f"certificate {certificate.serial_number:x}: its name says role {parts.netloc!r}, its unit {units}"
        )
    try:
        return parse_identity(f"{parts.netloc}/{unquote(parts.path.removeprefix('/'), errors='strict')}")
    except (InvalidValueError, UnicodeDecodeError) as error:
        raise UnauthenticatedError(f"certificate {certificate.serial_number:x}: {error}") from error


def is_valid_at(certificate: x509.Certificate, now: datetime) -> bool:
    """Whether `now`, with a time zone, lies between the certificate's dates."""
    return certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc


def _is_ours(uri: str) -> bool:
    return uri.startswith(f"{SCHEME}://")
