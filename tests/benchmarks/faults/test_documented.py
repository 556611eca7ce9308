"""The page's table is the code's, and answers outside of it are noticed."""

from __future__ import annotations

import grpc
import pytest

from benchmarks.faults.documented import complaint, read_statuses
from protos.status import STATUSES
from protos.v1 import common_pb2 as pb

Code = grpc.StatusCode


def test_the_page_holds_every_status() -> None:
    assert read_statuses() == {pb.Reason.Name(each.reason): each.grpc.name for each in STATUSES.values()}


@pytest.mark.parametrize(
    ("code", "reason", "message", "expected"),
    [
        (Code.OK, None, "", ""),
        (Code.INVALID_ARGUMENT, "REASON_PROTOCOL", "", ""),
        (Code.INTERNAL, "REASON_PROTOCOL", "", "REASON_PROTOCOL with INTERNAL, documented with INVALID_ARGUMENT"),
        (Code.INTERNAL, "REASON_NEW", "", "REASON_NEW, which is not documented"),
        (Code.RESOURCE_EXHAUSTED, None, "", ""),
        (Code.UNKNOWN, None, "Unexpected <class 'DecodeError'>", ""),
        (Code.UNKNOWN, None, "Unexpected <class 'KeyError'>", "UNKNOWN without upcycle-reason"),
        (Code.DEADLINE_EXCEEDED, None, "", "DEADLINE_EXCEEDED without upcycle-reason"),
    ],
)
def test_complaint(code: grpc.StatusCode, reason: str | None, message: str, expected: str) -> None:
    metadata = (("upcycle-reason", reason),) if reason else ()
    assert complaint(read_statuses(), code, metadata, message) == expected
