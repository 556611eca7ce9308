"""The server's side of mutual TLS: a folder of PEM files that is read again whenever one of them changes.

    DIR/key.pem, cert.pem    the server's own key and certificate
    DIR/ca.pem               the authorities whose certificates are accepted
    DIR/crl.pem              the revocation list of each of them

A pair that does not fit together, for example while its files are being replaced one by one, is not used: what was
read last stays in force, and the log says so.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import grpc
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec

from server.pki import files
from server.pki.identity import Peer, Role, identity_of, is_valid_at
from shared_models.errors import ConfigError, UnauthenticatedError, UpcycleError

logger = logging.getLogger(__name__)

_OWN, _TRUST = (files.KEY, files.CERTIFICATE), (files.CA, files.REVOCATIONS)  # each pair is read together
_T = TypeVar("_T")
_Fingerprints = list[tuple[int, int, int] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsConfig:
    """Where the files are and how soon a change of them counts.

    folder: holds key.pem, cert.pem, ca.pem and crl.pem.
    check_s: seconds between two looks at the files; 0 looks each time.
    """

    folder: Path
    check_s: float = 1.0

    def __post_init__(self) -> None:
        if self.check_s < 0:
            raise ConfigError(f"TlsConfig.check_s: expected 0 or more seconds, got {self.check_s}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """The server's private key and its certificate, with those above it, as PEM."""

    key: bytes
    chain: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Whom the server believes.

    authorities: as PEM.
    revoked: (issuer's name as DER, serial) of every revoked certificate.
    list_numbers: of each issuer's revocation list; they only grow.
    """

    authorities: bytes
    revoked: frozenset[tuple[bytes, int]]
    list_numbers: Mapping[bytes, int]


class TlsFolder:
    """The latest usable content of the folder. Safe to use from several threads."""

    def __init__(
        self,
        config: TlsConfig,
        clock_s: Callable[[], float] = time.monotonic,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        """Raises:
        ConfigError: a file is missing or damaged, or they do not fit together.
        """
        self._config, self._clock_s, self._now_s = config, clock_s, now_s
        self._lock = threading.Lock()
        self._looked_s = clock_s()
        parts = (_OWN, _TRUST)
        self._seen: dict[tuple[str, ...], _Fingerprints] = {p: _fingerprints(config.folder, p) for p in parts}
        self._own, self._trust = self._read_own(), read_trust(config.folder)
        check_issued(config.folder)
        files.warn_if_open(config.folder / files.KEY)
        self._handed_out: tuple[Own, Trust] | None = None

    def credentials(self) -> grpc.ServerCredentials:
        """For a port on which both sides must show a certificate; each new connection gets the latest content."""
        first = self._new_configuration()
        return grpc.dynamic_ssl_server_credentials(first, self._new_configuration, require_client_authentication=True)

    def check(self, peer: Peer) -> None:
        """Raises UnauthenticatedError: the certificate of `peer` is revoked, or not valid at this time."""
        now_s = self._now_s()
        if not peer.not_before_s <= now_s <= peer.not_after_s:
            until = datetime.fromtimestamp(peer.not_after_s, UTC)
            raise UnauthenticatedError(
                f"certificate {peer.serial:x} is valid until {until:%Y-%m-%dT%H:%M:%SZ} only, or not yet: "
                "the operator makes a new one with `upcycle server pki rotate`"
            )
        if (peer.issuer, peer.serial) in self._latest()[1].revoked:
            raise UnauthenticatedError(f"certificate {peer.serial:x} is revoked; ask the operator for a new one")

    def _latest(self) -> tuple[Own, Trust]:
        with self._lock:
            now_s = self._clock_s()
            if now_s - self._looked_s >= self._config.check_s:
                self._looked_s = now_s
                # Each by itself: a key that does not fit must not keep a revocation from being noticed.
                self._own = self._reloaded(_OWN, self._own, self._read_own)
                self._trust = self._reloaded(_TRUST, self._trust, self._read_newer_trust)
            return self._own, self._trust

    def _new_configuration(self) -> Any:
        """For gRPC, which asks at each new connection; None (not in its stubs) where nothing has changed since."""
        latest = self._latest()
        if latest == self._handed_out:
            return None
        self._handed_out = latest
        own, trust = latest
        return grpc.ssl_server_certificate_configuration([(own.key, own.chain)], trust.authorities)

    def _reloaded(self, part: tuple[str, ...], former: _T, read: Callable[[], _T]) -> _T:
        seen = _fingerprints(self._config.folder, part)
        if seen == self._seen[part]:
            return former
        self._seen[part] = seen  # also where reading fails, or every call would read and log it again
        try:
            new = read()
        except UpcycleError as error:
            logger.error("not reloaded, the former stay in force: %s", error, extra={"files": " ".join(part)})
            return former
        logger.info("reloaded", extra={"files": " ".join(part)})
        return new

    def _read_own(self) -> Own:
        return read_own(self._config.folder, datetime.fromtimestamp(self._now_s(), UTC))

    def _read_newer_trust(self) -> Trust:
        trust = read_trust(self._config.folder)
        for issuer, number in trust.list_numbers.items():
            former = self._trust.list_numbers.get(issuer, 0)
            if number < former:
                raise ConfigError(f"{files.REVOCATIONS}: list {number} is older than the one in force, {former}")
        return trust


def read_own(folder: Path, now: datetime) -> Own:
    """The server's key and certificate.

    Raises:
        ConfigError: missing or damaged, no pair, no server's certificate, or not valid at `now`.
    """
    path, key = folder / files.CERTIFICATE, files.load_key(folder / files.KEY)
    chain = files.load_certificates(path)
    if chain[0].public_key() != key.public_key():
        raise ConfigError(f"{path}: not the certificate of {files.KEY}; bring both files over together")
    if not is_valid_at(chain[0], now):
        until = chain[0].not_valid_after_utc
        raise ConfigError(f"{path}: valid until {until:%Y-%m-%dT%H:%M:%SZ} only, or not yet; `pki rotate` it")
    try:
        role = identity_of(chain[0]).role
    except UnauthenticatedError as error:
        raise ConfigError(f"{path}: {error}") from error
    if role is not Role.SERVER:
        raise ConfigError(f"{path}: expected the certificate of a server, got one of a {role}")
    return Own(key=files.key_to_pem(key), chain=files.to_pem(chain))


def read_trust(folder: Path) -> Trust:
    """The authorities and what they have revoked.

    Raises:
        ConfigError: missing or damaged, or an authority has no revocation list of its own.
    """
    authorities, lists = files.load_certificates(folder / files.CA), files.load_revocations(folder / files.REVOCATIONS)
    used = []
    for authority in authorities:
        own = [each for each in lists if _is_list_of(each, authority)]
        if not own:
            raise ConfigError(
                f"{folder / files.REVOCATIONS}: no list signed by {authority.subject.rfc4514_string()} of "
                f"{files.CA}: bring both files over together from the folder of `upcycle server pki`"
            )
        used += own
    return Trust(
        authorities=files.to_pem(authorities),
        revoked=frozenset((each.issuer.public_bytes(), entry.serial_number) for each in used for entry in each),
        list_numbers={each.issuer.public_bytes(): _number(each) for each in used},
    )


def check_issued(folder: Path) -> None:
    """Raises ConfigError: the certificate is of none of the authorities, so that no vehicle would believe it."""
    path = folder / files.CERTIFICATE
    certificate = files.load_certificates(path)[0]
    if not any(_is_issued_by(certificate, authority) for authority in files.load_certificates(folder / files.CA)):
        raise ConfigError(f"{path}: not issued by any authority in {files.CA}; bring both over together")


def _is_issued_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _is_list_of(revocations: x509.CertificateRevocationList, authority: x509.Certificate) -> bool:
    public_key = authority.public_key()
    if revocations.issuer != authority.subject or not isinstance(public_key, ec.EllipticCurvePublicKey):
        return False
    return revocations.is_signature_valid(public_key)


def _number(revocations: x509.CertificateRevocationList) -> int:
    try:
        return revocations.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except x509.ExtensionNotFound:
        return 0


def _fingerprints(folder: Path, names: tuple[str, ...]) -> _Fingerprints:
    """What tells whether a file was replaced or written to; None where it is missing."""
    found: _Fingerprints = []
    for name in names:
        try:
            status = (folder / name).stat()
        except OSError:
            found.append(None)
        else:
            found.append((status.st_mtime_ns, status.st_size, status.st_ino))
    return found
