"""Checks of single fields that came in."""

from __future__ import annotations

from shared_models.errors import InvalidValueError, ProtocolError
from shared_models.records import check

HASH_BYTES = 32


def check_vehicle_id(value: str) -> None:
    """Check a vehicle's name.

    Raises:
        ProtocolError: it is none.
    """
    try:
        check.name("message", "vehicle_id", value)
    except InvalidValueError:
        # Without the name: messages reach the log.
        raise ProtocolError(
            f"vehicle_id: expected 1 to 200 printable characters without '/' or '\\', got {len(value)} characters; "
            "see docs/protocol.md, Identities and checksums"
        ) from None


def hash_hex(field: str, value: bytes) -> str:
    """A hash as hex; `field` is what it is called where it is wrong.

    Raises:
        ProtocolError: it is not 32 bytes long.
    """
    if len(value) != HASH_BYTES:
        raise ProtocolError(f"{field}: expected {HASH_BYTES} bytes, got {len(value)}")
    return value.hex()
