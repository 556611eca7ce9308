"""Every error has one status, one reason, and a way back."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest

from protos import status
from protos.v1 import common_pb2
from shared_models import errors


def all_errors(base: type[errors.UpcycleError] = errors.UpcycleError) -> Iterator[type[errors.UpcycleError]]:
    yield base
    for child in base.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from all_errors(child)


ALL = sorted(set(all_errors()), key=lambda error: error.__name__)


def make(error: type[errors.UpcycleError]) -> errors.UpcycleError:
    return errors.UnknownNameError("codec", "x", ["a"]) if error is errors.UnknownNameError else error("message")


@pytest.mark.parametrize("error", ALL)
def test_every_error_is_listed(error: type[errors.UpcycleError]) -> None:
    assert error in status.STATUSES
    assert status.status_of(make(error)) is status.STATUSES[error]
    assert 400 <= status.STATUSES[error].http < 600
    assert status.STATUSES[error].grpc is not grpc.StatusCode.OK


def test_nothing_else_is_listed() -> None:
    assert set(status.STATUSES) == set(ALL)


def test_reasons_and_errors_are_one_to_one() -> None:
    reasons = [each.reason for each in status.STATUSES.values()]
    assert sorted(reasons) == sorted(value for value in common_pb2.Reason.values() if value)


@pytest.mark.parametrize("error", [error for error in ALL if error is not errors.UnknownNameError])
def test_the_way_back(error: type[errors.UpcycleError]) -> None:
    back = status.error_from_reason(status.STATUSES[error].reason, "what happened")
    assert (type(back), str(back)) == (error, "what happened")


def test_unknown_reasons() -> None:
    assert type(status.error_from_reason(9999, "new")) is errors.UpcycleError
    assert type(status.error_from_reason(common_pb2.REASON_UNKNOWN_NAME, "no such codec")) is errors.CallerError


def test_errors_below_a_listed_one_take_its_status() -> None:
    class Special(errors.StorageError):
        pass

    assert status.status_of(Special("x")) is status.STATUSES[errors.StorageError]


class FakeCall(grpc.RpcError):
    def __init__(self, code: grpc.StatusCode, metadata: tuple[tuple[str, str | bytes], ...] = ()) -> None:
        self._code, self._metadata = code, metadata

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return "details"

    def trailing_metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        return self._metadata


@pytest.mark.parametrize("error", [error for error in ALL if error is not errors.UnknownNameError])
def test_failed_call_becomes_the_servers_error(error: type[errors.UpcycleError]) -> None:
    sent = status.STATUSES[error]
    call = FakeCall(sent.grpc, status.trailing_metadata(sent))
    assert type(status.error_from_call(call, "host:1")) is error
    assert status.retry_after_ms(call) == sent.retry_after_ms


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (FakeCall(grpc.StatusCode.UNAVAILABLE), errors.ServerUnreachableError),
        (FakeCall(grpc.StatusCode.UNKNOWN, (("upcycle-reason", "NONSENSE"),)), errors.ServerUnreachableError),
        (FakeCall(grpc.StatusCode.UNKNOWN, (("x-bin", b"\xff"),)), errors.ServerUnreachableError),
        (FakeCall(grpc.StatusCode.UNIMPLEMENTED), errors.VersionError),
    ],
)
def test_calls_that_no_upcycle_server_answered(call: FakeCall, error: type[errors.UpcycleError]) -> None:
    made = status.error_from_call(call, "host:1")
    assert type(made) is error
    assert "host:1" in str(made)


def test_retry_time_that_is_no_number() -> None:
    assert status.retry_after_ms(FakeCall(grpc.StatusCode.UNKNOWN, (("upcycle-retry-after-ms", "soon"),))) == 0
