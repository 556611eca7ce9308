"""Each error's gRPC status, HTTP status and reason on the wire, and the way back from a reason to the error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import grpc

from protos.v1 import common_pb2 as pb
from shared_models import errors

REASON_KEY = "upcycle-reason"  # trailing metadata: name of the Reason
RETRY_AFTER_KEY = "upcycle-retry-after-ms"  # trailing metadata: decimal number, only where retrying makes sense

_Code = grpc.StatusCode


@dataclass(frozen=True, slots=True)
class Status:
    """How one error looks from outside.

    may_retry: the same request may succeed later without anybody changing it.
    retry_after_ms: how long to wait at least.
    """

    grpc: grpc.StatusCode
    http: int
    reason: pb.Reason
    may_retry: bool = False
    retry_after_ms: int = 0


STATUSES: dict[type[errors.UpcycleError], Status] = {
    errors.UpcycleError: Status(_Code.INTERNAL, 500, pb.REASON_INTERNAL, True, 5_000),
    errors.CallerError: Status(_Code.INVALID_ARGUMENT, 400, pb.REASON_CALLER),
    errors.InvalidValueError: Status(_Code.INVALID_ARGUMENT, 400, pb.REASON_INVALID_VALUE),
    errors.UnknownNameError: Status(_Code.INVALID_ARGUMENT, 400, pb.REASON_UNKNOWN_NAME),
    errors.ConfigError: Status(_Code.INVALID_ARGUMENT, 400, pb.REASON_CONFIG),
    errors.DatasetError: Status(_Code.INVALID_ARGUMENT, 422, pb.REASON_DATASET),
    errors.CheckpointError: Status(_Code.INVALID_ARGUMENT, 422, pb.REASON_CHECKPOINT),
    errors.NotFoundError: Status(_Code.NOT_FOUND, 404, pb.REASON_NOT_FOUND),
    errors.TrainingDivergedError: Status(_Code.FAILED_PRECONDITION, 422, pb.REASON_TRAINING_DIVERGED),
    errors.OperatorError: Status(_Code.INTERNAL, 500, pb.REASON_OPERATOR, True, 30_000),
    errors.MissingDependencyError: Status(_Code.UNIMPLEMENTED, 501, pb.REASON_MISSING_DEPENDENCY),
    errors.DeviceError: Status(_Code.INTERNAL, 500, pb.REASON_DEVICE),
    errors.StorageFullError: Status(_Code.UNAVAILABLE, 507, pb.REASON_STORAGE_FULL, True, 30_000),
    errors.StorageError: Status(_Code.UNAVAILABLE, 503, pb.REASON_STORAGE, True, 5_000),
    errors.ServerUnreachableError: Status(_Code.UNAVAILABLE, 503, pb.REASON_TRY_LATER, True, 1_000),
    errors.SenderError: Status(_Code.INVALID_ARGUMENT, 400, pb.REASON_SENDER),
    errors.PayloadError: Status(_Code.INVALID_ARGUMENT, 422, pb.REASON_PAYLOAD),
    errors.PayloadTooLargeError: Status(_Code.OUT_OF_RANGE, 413, pb.REASON_PAYLOAD_TOO_LARGE),
    errors.ProtocolError: Status(_Code.INVALID_ARGUMENT, 400, pb.REASON_PROTOCOL),
    errors.VersionError: Status(_Code.FAILED_PRECONDITION, 426, pb.REASON_VERSION),
    errors.BackboneMismatchError: Status(_Code.FAILED_PRECONDITION, 409, pb.REASON_BACKBONE_MISMATCH),
    errors.CodecRefusedError: Status(_Code.FAILED_PRECONDITION, 415, pb.REASON_CODEC_REFUSED),
    errors.GuardRefusedError: Status(_Code.FAILED_PRECONDITION, 409, pb.REASON_GUARD_REFUSED),
    errors.IntegrityError: Status(_Code.ABORTED, 422, pb.REASON_INTEGRITY, True, 0),
    errors.UnauthenticatedError: Status(_Code.UNAUTHENTICATED, 401, pb.REASON_UNAUTHENTICATED),
    errors.PermissionDeniedError: Status(_Code.PERMISSION_DENIED, 403, pb.REASON_PERMISSION_DENIED),
}

_ERRORS: dict[int, type[errors.UpcycleError]] = {status.reason: error for error, status in STATUSES.items()}


def status_of(error: errors.UpcycleError) -> Status:
    """The status of `error`: its own class's, else the nearest base's."""
    return next(STATUSES[base] for base in type(error).__mro__ if base in STATUSES)


def error_from_reason(reason: int, message: str) -> errors.UpcycleError:
    """The error that a reason on the wire stands for; an unknown number becomes the base error."""
    error = _ERRORS.get(reason, errors.UpcycleError)
    if error is errors.UnknownNameError:
        return errors.CallerError(message)  # its own form needs the table of names, which stayed on the server
    return error(message)


def trailing_metadata(status: Status) -> tuple[tuple[str, str], ...]:
    """What accompanies a gRPC status, for clients of any language."""
    reason = (REASON_KEY, pb.Reason.Name(status.reason))
    if not status.may_retry:
        return (reason,)
    return (reason, (RETRY_AFTER_KEY, str(status.retry_after_ms)))


def error_from_call(call: grpc.RpcError, target: str) -> errors.UpcycleError:
    """The error that a failed call stands for; calls that no Upcycle server answered become ServerUnreachableError."""
    metadata = _metadata(call)
    message = str(call.details() or "")
    if metadata.get(REASON_KEY) in pb.Reason.keys():  # noqa: SIM118 (an enum wrapper, not a dict)
        return error_from_reason(pb.Reason.Value(metadata[REASON_KEY]), message)
    if call.code() == _Code.UNIMPLEMENTED:
        return errors.VersionError(f"{target} does not speak upcycle.v1 ({message}): check address and versions")
    return errors.ServerUnreachableError(
        f"no answer from {target} ({call.code().name}: {message[:200]}): check that the server runs, that host and "
        "port are right, and that no firewall stands between"
    )


def retry_after_ms(call: grpc.RpcError) -> int:
    """How long the server asks to wait before the call is made again, in milliseconds; 0 where it does not say."""
    value = _metadata(call).get(RETRY_AFTER_KEY, "")
    return int(value) if value.isdecimal() else 0


def _metadata(call: grpc.RpcError) -> dict[str, str]:
    pairs: Any = call.trailing_metadata() or ()
    return {key: value for key, value in pairs if isinstance(value, str)}
