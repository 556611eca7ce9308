"""Why no secure connection comes about: a second try without gRPC, which tells only that a connection was closed."""

from __future__ import annotations

import socket
import ssl

from shared_models.errors import ConfigError, UnauthenticatedError, UpcycleError
from vehicle_client.tls import TlsFiles, load_own

TIMEOUT_S = 5.0
_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])  # RFC 9113 3.4: preface, settings
_WRONG_NAME = {62, 64}  # OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH, _IP_ADDRESS_MISMATCH
_DATES = {9, 10}  # X509_V_ERR_CERT_NOT_YET_VALID, _CERT_HAS_EXPIRED


def explain(target: str, tls: TlsFiles | None, timeout_s: float = TIMEOUT_S) -> UpcycleError | None:
    """Why `target` (HOST:PORT) takes no call from this vehicle; None where it is no matter of certificates."""
    host, port = split_target(target)
    try:
        context = _context(tls)
        with socket.create_connection((host, port), timeout_s) as connection:
            return _try(context, connection, host, target, is_secure=tls is not None)
    except UpcycleError as error:
        return error
    except OSError:
        return None  # nobody there, or too slow: unreachable is the right word


def split_target(target: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT`, `[HOST]:PORT` or `dns:///HOST:PORT`.

    Raises:
        ConfigError: there is no port.
    """
    host, _, port = target.rpartition("/")[2].rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ConfigError(f"server: expected HOST:PORT, for example localhost:50051, got {target!r}")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _context(tls: TlsFiles | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(["h2"])
    if tls is None:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # nothing but the handshake is sent
    else:
        load_own(context, tls)
    return context


def _try(
    context: ssl.SSLContext, connection: socket.socket, host: str, target: str, is_secure: bool
) -> UpcycleError | None:
    try:
        with context.wrap_socket(connection, server_hostname=host) as secure:
            if not is_secure:
                return UnauthenticatedError(f"{target} asks for TLS: give the vehicle's certificate with --tls DIR")
            secure.sendall(_HELLO)
            is_refused = not secure.recv(1)
    except ssl.SSLCertVerificationError as error:
        return UnauthenticatedError(_why(error, host, target))
    except ConnectionResetError:
        is_refused = True
    except ssl.SSLError as error:
        if not is_secure:
            return None
        if "ALERT" in (error.reason or ""):
            is_refused = True
        else:
            return UnauthenticatedError(f"{target} does not speak TLS, or something between breaks it: {error.reason}")
    if not is_refused:
        return None
    return UnauthenticatedError(
        f"{target} refuses this vehicle's certificate in the handshake: it is expired by the server's clock, or of an "
        "authority that the server does not know; ask its operator"
    )


def _why(error: ssl.SSLCertVerificationError, host: str, target: str) -> str:
    if error.verify_code in _WRONG_NAME:
        return (
            f"{target}: the server's certificate is not for {host!r}: use the name it was issued for, or have it "
            f"issued with --host {host}"
        )
    if error.verify_code in _DATES:
        return f"{target}: the server's certificate is not valid now ({error.verify_message}); check this clock, too"
    return (
        f"{target}: the server's certificate is of an authority that this vehicle does not know "
        f"({error.verify_message}): check --ca, and that nobody stands between"
    )
