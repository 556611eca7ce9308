"""Who may call what: roles of the calls, and a vehicle's own name. Without TLS nobody is known and all may call."""

from __future__ import annotations

from contextvars import ContextVar

from server.pki.identity import CALLERS, Peer, Role
from shared_models.errors import PermissionDeniedError, UnauthenticatedError

_PACKAGE = "/upcycle.v1."
ROLES: dict[str, frozenset[Role]] = {
    f"{_PACKAGE}Ingest/Handshake": frozenset({Role.VEHICLE}),
    f"{_PACKAGE}Ingest/Upload": frozenset({Role.VEHICLE}),
    f"{_PACKAGE}Ingest/SceneStatus": CALLERS,
    f"{_PACKAGE}Delivery/GetPolicy": CALLERS,
    f"{_PACKAGE}Delivery/GetModel": frozenset({Role.VEHICLE, Role.OPERATOR}),
    "/grpc.health.v1.Health/Check": CALLERS,
    "/grpc.health.v1.Health/List": CALLERS,
    "/grpc.health.v1.Health/Watch": CALLERS,
}
"""Full name of each call and the roles that may make it; a call that is not listed is nobody's."""

_caller: ContextVar[Peer | None] = ContextVar("caller", default=None)


def set_caller(peer: Peer) -> None:
    """From now on `peer` is who makes the call of this task."""
    _caller.set(peer)


def caller() -> Peer | None:
    """Who makes the call of this task; None without TLS."""
    return _caller.get()


def check_role(method: str, peer: Peer) -> None:
    """Raises PermissionDeniedError: the role of `peer` may not make this call."""
    allowed = ROLES.get(method, frozenset())
    if peer.identity.role not in allowed:
        raise PermissionDeniedError(
            f"{method}: not for a {peer.identity.role}, only for: {', '.join(sorted(allowed)) or 'nobody'}"
        )


def check_own(vehicle_id: str, what: str) -> None:
    """Whether the caller may speak for `vehicle_id`; operators and auditors may ask about every vehicle.

    what: what is asked for, in the words of the message.

    Raises:
        PermissionDeniedError: the caller is another vehicle.
    """
    peer = _caller.get()
    if peer is None or peer.identity.role in {Role.OPERATOR, Role.AUDITOR}:
        return
    if peer.identity.role is not Role.VEHICLE:
        raise UnauthenticatedError(f"{what}: a {peer.identity.role}'s certificate is nobody's to call with")
    if peer.identity.name != vehicle_id:
        # Without the names: messages reach the log.
        raise PermissionDeniedError(f"{what}: the certificate is another vehicle's than the one that the message names")
