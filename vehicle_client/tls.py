"""The vehicle's side of mutual TLS: its files, and what its own certificate says. Python's `ssl` only."""

from __future__ import annotations

import logging
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from shared_models.errors import ConfigError, PermissionDeniedError, UnauthenticatedError

logger = logging.getLogger(__name__)

CA, CERTIFICATE, KEY = "ca.pem", "cert.pem", "key.pem"
WARN_DAYS = 14  # so long before its end a certificate is worth a warning
_VEHICLE_URI = "upcycle://vehicle/"
_IGNORE_TIME = 0x200000  # OpenSSL's X509_V_FLAG_NO_CHECK_TIME; the dates are looked at here, to name them


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """PEM files; they are read again for each connection, so that a new certificate needs no restart.

    ca: the authorities whose servers are believed.
    certificate, key: the vehicle's own.
    """

    ca: Path
    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnCertificate:
    """What the vehicle's certificate says.

    vehicle_id: its name; None where it is no vehicle's.
    not_before_s, not_after_s: seconds since the epoch between which it is valid.
    """

    vehicle_id: str | None
    not_before_s: float
    not_after_s: float

    def days_left(self, now_s: float) -> float:
        """Until its end; below 0 after it."""
        return (self.not_after_s - now_s) / 86_400

    def check(self, now_s: float, vehicle_id: str | None = None) -> None:
        """Whether a server will believe it.

        vehicle_id: as whom the vehicle drives; None: not asked.

        Raises:
            UnauthenticatedError: it has expired or does not count yet.
            PermissionDeniedError: it is not this vehicle's.
        """
        if now_s > self.not_after_s:
            raise UnauthenticatedError(
                f"the vehicle's own certificate has expired on {_day(self.not_after_s)}: put the one that "
                "`upcycle server pki rotate` makes in its place"
            )
        if now_s < self.not_before_s:
            raise UnauthenticatedError(
                f"the vehicle's own certificate counts only from {_day(self.not_before_s)} on: check this clock"
            )
        if vehicle_id is not None and vehicle_id != self.vehicle_id:
            owner = "no vehicle's" if self.vehicle_id is None else f"that of vehicle {self.vehicle_id!r}"
            raise PermissionDeniedError(f"driving as {vehicle_id!r}, but the certificate is {owner}")
        if self.days_left(now_s) < WARN_DAYS:
            logger.warning("the vehicle's certificate expires on %s", _day(self.not_after_s))


def tls_files(
    folder: Path | None, ca: Path | None = None, certificate: Path | None = None, key: Path | None = None
) -> TlsFiles | None:
    """The files of a folder that `upcycle server pki issue` made, or those named one by one; None where none are.

    Raises:
        ConfigError: some of them are not named.
    """
    if folder is not None:
        return TlsFiles(ca=ca or folder / CA, certificate=certificate or folder / CERTIFICATE, key=key or folder / KEY)
    if ca is None and certificate is None and key is None:
        return None
    if ca is None or certificate is None or key is None:
        raise ConfigError("TLS: expected --ca, --cert and --key together, or --tls DIR with all three files in it")
    return TlsFiles(ca=ca, certificate=certificate, key=key)


def read_own(files: TlsFiles) -> OwnCertificate:
    """What the vehicle's certificate says; a key that others can read is warned of.

    Raises:
        ConfigError: a file is missing or damaged, or key and certificate are no pair.
        UnauthenticatedError: it was issued by none of the authorities, or is not meant for a client.
    """
    shown = _shown_to_server(files)
    if files.key.stat().st_mode & 0o077:
        logger.warning("%s can be read by others than its owner: chmod 600 it", files.key)
    uris = [value for kind, value in shown.get("subjectAltName", ()) if kind == "URI"]
    ids = [unquote(uri.removeprefix(_VEHICLE_URI)) for uri in uris if uri.startswith(_VEHICLE_URI)]
    return OwnCertificate(
        vehicle_id=ids[0] if len(ids) == 1 else None,
        not_before_s=ssl.cert_time_to_seconds(shown["notBefore"]),
        not_after_s=ssl.cert_time_to_seconds(shown["notAfter"]),
    )


def load_own(context: ssl.SSLContext, files: TlsFiles) -> None:
    """Let `context` use the vehicle's files.

    Raises:
        ConfigError: one is missing or damaged, or key and certificate are no pair.
    """
    for path in (files.ca, files.certificate, files.key):
        if not path.is_file():
            raise ConfigError(f"{path}: no such file; `upcycle server pki issue vehicle/NAME` makes it")
    try:
        context.load_verify_locations(files.ca)
    except (ssl.SSLError, OSError) as error:
        raise ConfigError(f"{files.ca}: expected the authorities' certificates in PEM: {error}") from error
    try:
        context.load_cert_chain(files.certificate, files.key, password="")  # never asked for at a terminal
    except (ssl.SSLError, OSError) as error:
        raise ConfigError(
            f"{files.certificate} and {files.key}: expected a certificate and its own unencrypted key, in PEM: {error}"
        ) from error


def _shown_to_server(files: TlsFiles) -> dict[str, Any]:
    """The certificate as a server that trusts the same authorities would see it: a handshake in memory."""
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    server.verify_mode = ssl.CERT_REQUIRED
    server.verify_flags |= _IGNORE_TIME
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE  # its peer is the line above, not a network
    load_own(server, files)
    load_own(client, files)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        client.wrap_bio(to_client, to_server),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    try:
        for _ in range(3):  # TLS 1.3 needs two rounds
            for side in sides:
                try:
                    side.do_handshake()
                except ssl.SSLWantReadError:
                    continue
    except ssl.SSLCertVerificationError as error:
        raise UnauthenticatedError(
            f"{files.certificate}: {error.verify_message}; expected a vehicle's, by an authority in {files.ca}"
        ) from error
    except ssl.SSLError as error:
        raise ConfigError(f"{files.certificate}: cannot be used for TLS: {error}") from error
    return dict(sides[1].getpeercert() or {})


def _day(at_s: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at_s))
