"""Keys, certificates and lists as PEM files; each write replaces the file as a whole, keys are their owner's only."""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from shared_models.errors import ConfigError, StorageError

logger = logging.getLogger(__name__)

CA, CERTIFICATE, KEY, REVOCATIONS = "ca.pem", "cert.pem", "key.pem", "crl.pem"
_PEM = serialization.Encoding.PEM


def write(path: Path, content: bytes, is_secret: bool = False) -> None:
    """Put `content` in the place of `path` at once; mode 0600 where it is secret, else 0644.

    Raises:
        StorageError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # made with mode 0600
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fchmod(file.fileno(), 0o600 if is_secret else 0o644)
                os.fsync(file.fileno())
            os.replace(name, path)
        except OSError:
            os.unlink(name)
            raise
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror}; check space and permissions") from error


def read(path: Path) -> bytes:
    """The content of `path`.

    Raises:
        ConfigError: it is not there or cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; `upcycle server pki` makes it, see docs/operations.md") from error


def is_open_to_others(path: Path) -> bool:
    """Whether somebody besides the owner may read or write `path`."""
    return bool(path.stat().st_mode & 0o077)


def key_to_pem(key: ec.EllipticCurvePrivateKey, passphrase: bytes | None = None) -> bytes:
    """PKCS #8, encrypted where there is a passphrase."""
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        encryption = serialization.BestAvailableEncryption(passphrase)
    return key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, encryption)


def load_key(path: Path, passphrase: bytes | None = None) -> ec.EllipticCurvePrivateKey:
    """The private key in `path`.

    Raises:
        ConfigError: missing, no such key, or the passphrase is wrong.
    """
    try:
        key = serialization.load_pem_private_key(read(path), passphrase)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{path}: expected a private key in PEM, and its passphrase: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigError(f"{path}: expected a key on an elliptic curve (P-256)")
    return key


def load_certificates(path: Path) -> list[x509.Certificate]:
    """All certificates in `path`.

    Raises:
        ConfigError: missing, or none is in it.
    """
    try:
        return x509.load_pem_x509_certificates(read(path))
    except ValueError as error:
        raise ConfigError(f"{path}: expected certificates in PEM: {error}") from error


def load_revocations(path: Path) -> list[x509.CertificateRevocationList]:
    """All revocation lists in `path`.

    Raises:
        ConfigError: missing, or damaged.
    """
    end = b"-----END X509 CRL-----"
    parts = [part.strip() for part in read(path).split(end)]
    try:
        lists = [x509.load_pem_x509_crl(part + b"\n" + end + b"\n") for part in parts[:-1]]
    except ValueError as error:
        raise ConfigError(f"{path}: expected revocation lists in PEM: {error}") from error
    if not lists or parts[-1]:
        raise ConfigError(f"{path}: expected revocation lists in PEM and nothing else")
    return lists


def to_pem(items: list[x509.Certificate] | list[x509.CertificateRevocationList]) -> bytes:
    """Certificates, or lists, one after the other."""
    return b"".join(item.public_bytes(_PEM) for item in items)


def warn_if_open(path: Path) -> None:
    """Say so where a private key can be read by others."""
    if is_open_to_others(path):
        logger.warning("%s can be read by others than its owner: chmod 600 it, or issue a new key", path)
