"""gRPC channels to a server, with TLS or without."""

from __future__ import annotations

import grpc

from protos.policy import MAX_MESSAGE_BYTES
from shared_models.errors import ConfigError
from vehicle_client.tls import TlsFiles

_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),  # a broken connection is not shared with the next stream
)


def open_channel(target: str, tls: TlsFiles | None = None) -> grpc.Channel:
    """A channel of its own to `target` (HOST:PORT); the files of `tls` are read now.

    Raises:
        ConfigError: one of them cannot be read.
    """
    if tls is None:
        return grpc.insecure_channel(target, options=_OPTIONS)
    try:
        credentials = grpc.ssl_channel_credentials(
            root_certificates=tls.ca.read_bytes(),
            private_key=tls.key.read_bytes(),
            certificate_chain=tls.certificate.read_bytes(),
        )
    except OSError as error:
        raise ConfigError(f"{error.filename}: {error.strerror}; `upcycle server pki issue` makes it") from error
    return grpc.secure_channel(target, credentials, options=_OPTIONS)
