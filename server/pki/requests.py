"""Certificate requests: the public key of a holder that keeps its private key to itself."""

from __future__ import annotations

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from server.pki import files
from shared_models.errors import ConfigError


def load_request(path: Path) -> x509.CertificateSigningRequest:
    """The certificate request in `path`, its signature checked.

    Raises:
        ConfigError: missing, damaged, or not on an elliptic curve.
    """
    try:
        request = x509.load_pem_x509_csr(files.read(path))
    except ValueError as error:
        raise ConfigError(f"{path}: expected a certificate request in PEM: {error}") from error
    public_key_of(request)
    return request


def public_key_of(request: x509.CertificateSigningRequest) -> ec.EllipticCurvePublicKey:
    """The key that a certificate is asked for.

    Raises:
        ConfigError: it is not on an elliptic curve, or the request not signed with it.
    """
    key = request.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not request.is_signature_valid:
        raise ConfigError("certificate request: expected a key on an elliptic curve, and its own valid signature")
    return key
