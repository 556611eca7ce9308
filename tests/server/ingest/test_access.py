"""Roles of the calls, and a vehicle's own name."""

from __future__ import annotations

from contextvars import copy_context

import pytest

from protos.v1 import delivery_pb2, ingest_pb2
from server.ingest.access import ROLES, check_own, check_role, set_caller
from server.pki.identity import Identity, Peer, Role
from shared_models.errors import PermissionDeniedError, UnauthenticatedError


def peer(role: Role, name: str = "x") -> Peer:
    identity = Identity(role=role, name=name)
    return Peer(identity=identity, issuer=b"", serial=1, not_before_s=0.0, not_after_s=1.0)


def test_every_call_of_our_services_has_its_roles() -> None:
    services = [*ingest_pb2.DESCRIPTOR.services_by_name.values(), *delivery_pb2.DESCRIPTOR.services_by_name.values()]
    calls = {f"/{service.full_name}/{method.name}" for service in services for method in service.methods}
    assert calls == {name for name in ROLES if name.startswith("/upcycle.v1.")}


@pytest.mark.parametrize("method", sorted(ROLES))
@pytest.mark.parametrize("role", list(Role))
def test_roles(method: str, role: Role) -> None:
    if role in ROLES[method]:
        check_role(method, peer(role))
        return
    with pytest.raises(PermissionDeniedError, match=f"not for a {role}"):
        check_role(method, peer(role))


def test_a_call_that_is_not_listed_is_nobodys() -> None:
    for role in Role:
        with pytest.raises(PermissionDeniedError, match="nobody"):
            check_role("/upcycle.v1.Ingest/New", peer(role))


def test_a_server_is_no_caller() -> None:
    assert not any(Role.SERVER in roles for roles in ROLES.values())


@pytest.mark.parametrize(
    ("caller", "error"),
    [
        (None, None),  # without TLS
        (peer(Role.VEHICLE, "car-1"), None),
        (peer(Role.OPERATOR, "olaf"), None),
        (peer(Role.AUDITOR, "ann"), None),
        (peer(Role.VEHICLE, "car-2"), PermissionDeniedError),
        (peer(Role.VEHICLE, "car-11"), PermissionDeniedError),
        (peer(Role.SERVER, "car-1"), UnauthenticatedError),
    ],
)
def test_own_name(caller: Peer | None, error: type[Exception] | None) -> None:
    def ask() -> None:
        if caller is not None:
            set_caller(caller)
        if error is None:
            check_own("car-1", "hello")
            return
        with pytest.raises(error, match="hello"):
            check_own("car-1", "hello")

    copy_context().run(ask)
