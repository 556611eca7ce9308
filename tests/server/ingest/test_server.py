"""Where the server listens, its health, and how it stops."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from server.ingest.server import Listen
from shared_models.errors import ConfigError
from tests.loopback import LoopbackServer


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.8.9.1"])
def test_loopback_needs_no_permission(host: str) -> None:
    assert Listen(host=host).is_loopback


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.1", "example.org"])
def test_other_addresses_need_permission(host: str) -> None:
    with pytest.raises(ConfigError, match="--insecure-public"):
        Listen(host=host)
    assert not Listen(host=host, is_public_allowed=True).is_loopback


def test_with_tls_every_address_is_served_and_nothing_is_insecure() -> None:
    assert not Listen(host="0.0.0.0", is_encrypted=True).is_loopback
    with pytest.raises(ConfigError, match="one of them"):
        Listen(host="0.0.0.0", is_encrypted=True, is_public_allowed=True)


def test_addresses_as_grpc_writes_them() -> None:
    assert Listen(port=5).address == "127.0.0.1:5"
    assert Listen(host="::1", port=5).address == "[::1]:5"
    with pytest.raises(ConfigError, match="port"):
        Listen(port=70_000)


@pytest.mark.parametrize("service", ["", "upcycle.v1.Ingest", "upcycle.v1.Delivery"])
def test_health(tmp_path: Path, service: str) -> None:
    with LoopbackServer(tmp_path) as server:
        answer = health_pb2_grpc.HealthStub(server.channel()).Check(health_pb2.HealthCheckRequest(service=service))
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match="taken by another program"):
            LoopbackServer(tmp_path, port=port).__enter__()
