"""A fleet's certificate authority in a folder.

    PKI/authorities/0001/     key.pem (mode 0600, encrypted where a passphrase is given) and cert.pem; the highest
                              number signs, earlier ones stay trusted until they are retired
    PKI/ca.pem                all trusted authorities, newest first: what every side checks the other with
    PKI/crl.pem               the revocation list of each of them
    PKI/issued/SERIAL.pem     a copy of every certificate
    PKI/ROLE/NAME/            what one holder needs: ca.pem, cert.pem, key.pem, and for a server crl.pem

Every change brings `ca.pem` and `crl.pem` in all the holders' folders up to date.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from server.pki import certificates, files
from server.pki.identity import Identity, Role, identity_of, is_valid_at
from server.pki.requests import public_key_of
from shared_models.errors import ConfigError, NotFoundError, StorageError

_AUTHORITIES, _ISSUED, _RETIRED = "authorities", "issued", "retired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """One certificate that was issued.

    hosts: those of a server.
    revoked_at: None where it is not.
    is_trusted: whether its authority has not been retired.
    """

    certificate: x509.Certificate
    identity: Identity
    hosts: tuple[str, ...]
    revoked_at: datetime | None
    is_trusted: bool = True

    @property
    def serial(self) -> str:
        """In hexadecimal digits."""
        return f"{self.certificate.serial_number:x}"

    def state(self, now: datetime) -> str:
        """`valid`, `revoked`, `retired` (with its authority), `expired` or `not yet valid`."""
        if self.revoked_at is not None:
            return "revoked"
        if not self.is_trusted:
            return "retired"
        if is_valid_at(self.certificate, now):
            return "valid"
        return "expired" if now > self.certificate.not_valid_after_utc else "not yet valid"


@dataclass(frozen=True, slots=True)
class _Signer:
    folder: Path
    certificate: x509.Certificate


class Authority:
    """Issues, revokes and lists certificates; one change at a time, also from several processes."""

    def __init__(self, folder: Path, passphrase: bytes | None = None) -> None:
        """Raises:
        ConfigError: there is no authority in `folder`.
        """
        if not (folder / _AUTHORITIES).is_dir():
            raise ConfigError(f"{folder}: no certificate authority here; make one with `upcycle server pki init`")
        self.folder, self._passphrase = folder, passphrase

    def issue(
        self,
        identity: Identity,
        now: datetime,
        days: int,
        hosts: Sequence[str] = (),
        request: x509.CertificateSigningRequest | None = None,
    ) -> Path:
        """Make the first certificate of `identity`; the folder with what its holder needs.

        request: holds the public key of a holder that keeps its private key to itself; nothing else of it is used.

        Raises:
            ConfigError: it has a valid one already, or the authority's key cannot be read.
            InvalidValueError: days or hosts make no sense.
        """
        with self._changing():
            if any(each.identity == identity and each.state(now) == "valid" for each in self.issued()):
                raise ConfigError(f"{identity} has a valid certificate: `rotate {identity}` makes a new one")
            return self._issue(identity, now, days, hosts, request)

    def rotate(
        self, identity: Identity, now: datetime, days: int, request: x509.CertificateSigningRequest | None = None
    ) -> Path:
        """Make a new certificate, with a new key, in the place of the latest; the old one stays valid.

        Raises:
            NotFoundError: it never had one.
            ConfigError: the authority's key cannot be read.
        """
        with self._changing():
            earlier = [each for each in self.issued() if each.identity == identity]
            if not earlier:
                raise NotFoundError(f"{identity} has no certificate: `issue {identity}` makes the first")
            latest = max(earlier, key=lambda each: each.certificate.not_valid_before_utc)
            return self._issue(identity, now, days, latest.hosts, request)

    def revoke(self, what: str, now: datetime) -> list[Issued]:
        """Revoke the certificate with serial `what`, or all valid ones of ROLE/NAME; those that were revoked now.

        Raises:
            NotFoundError: there is no such certificate that could be revoked.
            ConfigError: the authority's key cannot be read.
        """
        with self._changing():
            found = [
                each
                for each in self.issued()
                if each.revoked_at is None and (each.serial == what.lower() or str(each.identity) == what)
            ]
            if not found:
                raise NotFoundError(f"no certificate {what!r} that is not revoked; `pki list` shows all")
            for signer in self._signers():
                subject = signer.certificate.subject
                serials = [c.certificate.serial_number for c in found if c.certificate.issuer == subject]
                if serials:
                    self._write_revocations(signer, serials, now)
            self._publish()
            return found

    def rotate_authority(self, name: str, now: datetime, days: int) -> x509.Certificate:
        """Make a new authority that signs from now on; earlier ones stay trusted until `retire`."""
        with self._changing():
            return self._add_authority(name, now, days)

    def retire(self, now: datetime, is_forced: bool = False) -> list[x509.Certificate]:
        """Trust no authority but the newest any longer; the certificates of those that were retired.

        Raises:
            ConfigError: valid certificates of an earlier one are left, and `is_forced` is not set.
        """
        with self._changing():
            *earlier, _ = self._signers()
            left = [c for c in self.issued() if c.state(now) == "valid" and _is_of(c, earlier) and not is_forced]
            if left:
                names = ", ".join(sorted({f"{each.identity} ({each.serial[:12]})" for each in left})[:10])
                raise ConfigError(f"valid certificates of an earlier authority are left: {names}; rotate, then revoke")
            (self.folder / _RETIRED).mkdir(mode=0o700, exist_ok=True)
            for signer in earlier:
                signer.folder.rename(self.folder / _RETIRED / signer.folder.name)
            self._publish()
            return [signer.certificate for signer in earlier]

    def issued(self) -> list[Issued]:
        """Every certificate, in the order of the names."""
        revoked = {
            (crl.issuer.public_bytes(), each.serial_number): each.revocation_date_utc
            for crl in files.load_revocations(self.folder / files.REVOCATIONS)
            for each in crl
        }
        trusted = {signer.certificate.subject for signer in self._signers()}
        found = []
        for path in sorted((self.folder / _ISSUED).glob("*.pem")):
            (certificate,) = files.load_certificates(path)
            at = revoked.get((certificate.issuer.public_bytes(), certificate.serial_number))
            identity, hosts = identity_of(certificate), certificates.hosts_of(certificate)
            found.append(
                Issued(
                    certificate=certificate,
                    identity=identity,
                    hosts=hosts,
                    revoked_at=at,
                    is_trusted=certificate.issuer in trusted,
                )
            )
        return sorted(found, key=lambda each: (str(each.identity), each.certificate.not_valid_before_utc))

    def _issue(
        self,
        identity: Identity,
        now: datetime,
        days: int,
        hosts: Sequence[str],
        request: x509.CertificateSigningRequest | None,
    ) -> Path:
        signer = self._signers()[-1]
        key = certificates.make_key()
        public_key = key.public_key() if request is None else public_key_of(request)
        certificate = certificates.make_certificate(
            public_key, identity, hosts, signer.certificate, self._key(signer), now, days
        )
        pem = files.to_pem([certificate])
        # Known here before anybody holds it, so that it can always be revoked.
        files.write(self.folder / _ISSUED / f"{certificate.serial_number:x}.pem", pem)
        holder = self.folder / identity.role / identity.name
        if request is None:
            files.write(holder / files.KEY, files.key_to_pem(key), is_secret=True)
        else:
            (holder / files.KEY).unlink(missing_ok=True)
        files.write(holder / files.CERTIFICATE, pem)
        self._publish()
        return holder

    def _add_authority(self, name: str, now: datetime, days: int) -> x509.Certificate:
        numbers = [int(path.name) for part in (_AUTHORITIES, _RETIRED) for path in (self.folder / part).glob("[0-9]*")]
        folder = self.folder / _AUTHORITIES / f"{max(numbers, default=0) + 1:04d}"
        key = certificates.make_key()
        certificate = certificates.make_authority(key, name, now, days)
        files.write(folder / files.KEY, files.key_to_pem(key, self._passphrase), is_secret=True)
        revocations = certificates.make_revocations([], 1, certificate, key, now)
        files.write(folder / files.REVOCATIONS, files.to_pem([revocations]))
        files.write(folder / files.CERTIFICATE, files.to_pem([certificate]))  # last: without it, it is none
        self._publish()
        return certificate

    def _signers(self) -> list[_Signer]:
        """The trusted authorities, oldest first."""
        paths = sorted((self.folder / _AUTHORITIES).glob(f"[0-9]*/{files.CERTIFICATE}"))
        if not paths:
            raise ConfigError(f"{self.folder}: no authority in {_AUTHORITIES}/; restore the folder from its backup")
        return [_Signer(path.parent, files.load_certificates(path)[0]) for path in paths]

    def _key(self, signer: _Signer) -> ec.EllipticCurvePrivateKey:
        path = signer.folder / files.KEY
        key = files.load_key(path, self._passphrase)
        if files.is_open_to_others(path):
            raise ConfigError(f"{path}: the authority's key can be read by others than its owner; chmod 600 it")
        return key

    def _write_revocations(self, signer: _Signer, serials: Sequence[int], now: datetime) -> None:
        path = signer.folder / files.REVOCATIONS
        (former,) = files.load_revocations(path)
        number = former.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
        entries = [(each.serial_number, each.revocation_date_utc) for each in former]
        entries += [(serial, now) for serial in serials]
        made = certificates.make_revocations(entries, number + 1, signer.certificate, self._key(signer), now)
        files.write(path, files.to_pem([made]))

    def _publish(self) -> None:
        """Bring `ca.pem` and `crl.pem` up to date everywhere, holders' folders last."""
        signers = self._signers()[::-1]
        authorities = files.to_pem([signer.certificate for signer in signers])
        revocations = b"".join(files.read(signer.folder / files.REVOCATIONS) for signer in signers)
        holders = [path.parent for role in Role for path in (self.folder / role).glob(f"*/{files.CERTIFICATE}")]
        for folder in (self.folder, *holders):
            if folder == self.folder or folder.parent.name == Role.SERVER:
                files.write(folder / files.REVOCATIONS, revocations)
            files.write(folder / files.CA, authorities)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        try:
            descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StorageError(f"{self.folder}: cannot be changed: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def create_authority(folder: Path, name: str, now: datetime, days: int, passphrase: bytes | None = None) -> Authority:
    """Make a new authority in `folder`.

    Raises:
        ConfigError: there is one already.
        StorageError: the folder cannot be written.
    """
    if any((folder / _AUTHORITIES).glob(f"*/{files.CERTIFICATE}")):
        raise ConfigError(f"{folder}: holds a certificate authority already; `pki rotate ca` makes a new one beside it")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / _AUTHORITIES).mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{folder}: cannot be made: {error.strerror}") from error
    authority = Authority(folder, passphrase)
    authority.rotate_authority(name, now, days)
    return authority


def _is_of(issued: Issued, signers: Sequence[_Signer]) -> bool:
    return any(issued.certificate.issuer == signer.certificate.subject for signer in signers)
