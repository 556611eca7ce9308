"""What docs/protocol.md says about statuses, read from its tables: to compare with what a server answers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import grpc

from shared_models.errors import ConfigError

_ROW = re.compile(r"^\| `(REASON_\w+)` \| (\w+) \|", re.MULTILINE)
PAGE = Path(__file__).resolve().parents[2] / "docs" / "protocol.md"


def read_statuses(page: Path = PAGE) -> dict[str, str]:
    """Reason -> name of its gRPC status.

    Raises:
        ConfigError: the page has no such table.
    """
    found = dict(_ROW.findall(page.read_text(encoding="utf-8")))
    if not found:
        raise ConfigError(f"{page}: no table of reasons and statuses")
    return found


def complaint(
    statuses: dict[str, str], code: grpc.StatusCode, metadata: Sequence[tuple[str, str | bytes]], message: str = ""
) -> str:
    """Why an ended call's status is none of the documented ones; empty where it is one.

    Without a reason it must be gRPC's own refusal: of what is too long or too much at once, or of a request that cannot
    be decoded, which is INTERNAL in a unary call and UNKNOWN with the decoder's error in one whose answers stream.
    """
    if code is grpc.StatusCode.OK:
        return ""
    reason = dict(metadata).get("upcycle-reason")
    if not isinstance(reason, str):
        is_own = code in (grpc.StatusCode.INTERNAL, grpc.StatusCode.RESOURCE_EXHAUSTED) or (
            code is grpc.StatusCode.UNKNOWN and "DecodeError" in message
        )
        return "" if is_own else f"{code.name} without upcycle-reason"
    if reason not in statuses:
        return f"{reason}, which is not documented"
    if statuses[reason] != code.name:
        return f"{reason} with {code.name}, documented with {statuses[reason]}"
    return ""
