"""Every error of the project, grouped by who can act on it.

    UpcycleError
    ├── CallerError                 the person at the command line, or the code calling us
    │   ├── InvalidValueError       a value, shape, unit or range is wrong
    │   ├── UnknownNameError        a name that is in no table; lists the known ones
    │   ├── ConfigError             a run file or configuration is wrong
    │   ├── DatasetError            a dataset file is missing or malformed (path and line)
    │   ├── CheckpointError         a checkpoint is damaged, hostile or does not fit the network
    │   ├── NotFoundError           what was asked for is not stored here
    │   └── TrainingDivergedError   a loss or gradient is not finite; names step, frames and last good checkpoint
    ├── OperatorError               whoever runs this machine
    │   ├── MissingDependencyError  an optional library is not installed
    │   ├── DeviceError             the device or engine asked for is not there
    │   ├── StorageFullError        no space is left for what must be made durable
    │   ├── StorageError            a store or database does not answer, or holds damaged data
    │   └── ServerUnreachableError  no connection to the server, or it answered "try again later"
    └── SenderError                 the vehicle that sent a message or payload
        ├── PayloadError            a payload is damaged, hostile or not of the declared form
        ├── PayloadTooLargeError    larger than the limit, before or after decompression
        ├── ProtocolError           a message is out of order, incomplete or not understood
        ├── VersionError            a protocol or payload version that this build does not read
        ├── BackboneMismatchError   features of another backbone than the one accepted
        ├── CodecRefusedError       a codec that the server does not accept
        ├── GuardRefusedError       features under another guard than the one that the server asks for
        ├── IntegrityError          bytes do not match their declared checksum or identity
        ├── UnauthenticatedError    no certificate, or one that is expired, revoked or of an unknown authority
        └── PermissionDeniedError   known, but not allowed: another vehicle's scene, or another role's call

A message says what was expected, what came, which item, and what to do.
`protos/status.py` gives each class its gRPC and HTTP status.
"""

from __future__ import annotations

from collections.abc import Iterable


class UpcycleError(Exception):
    """Base of every error that the project raises on purpose."""


class CallerError(UpcycleError):
    """The caller can act: a wrong argument, file or name."""


class InvalidValueError(CallerError, ValueError):
    """A value, shape, unit or range is wrong."""


class UnknownNameError(CallerError, KeyError):
    """A name that is in no table. The message lists the known names."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        self.kind, self.name, self.known = kind, name, tuple(sorted(known))
        super().__init__(f"unknown {kind} {name!r}; known: {', '.join(self.known)}")

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError would show the message's repr


class ConfigError(CallerError):
    """A run file or configuration is wrong."""


class DatasetError(CallerError):
    """A dataset file is missing or malformed. The message names the path and, in text files, the line."""


class CheckpointError(CallerError):
    """A checkpoint is damaged, hostile, or does not fit the network it is loaded into."""


class NotFoundError(CallerError):
    """What was asked for is not stored here."""


class TrainingDivergedError(CallerError):
    """A loss or gradient is not finite. The message names step, frames and the last good checkpoint."""


class OperatorError(UpcycleError):
    """Whoever runs this machine can act: space, drivers, libraries, network."""


class MissingDependencyError(OperatorError):
    """An optional library is not installed. The message names the extra to install."""


class DeviceError(OperatorError):
    """The device or engine asked for is not there, or cannot be used safely."""


class StorageFullError(OperatorError):
    """No space is left for what must be made durable. Nothing already acknowledged is lost."""


class StorageError(OperatorError):
    """A store or database does not answer, or holds damaged data."""


class ServerUnreachableError(OperatorError):
    """No connection to the server, or it answered "try again later"."""


class SenderError(UpcycleError):
    """The sender of a message or payload can act: what came is refused."""


class PayloadError(SenderError):
    """A payload is damaged, hostile or not of the declared form."""


class PayloadTooLargeError(SenderError):
    """Larger than the limit, before or after decompression."""


class ProtocolError(SenderError):
    """A message is out of order, incomplete or not understood."""


class VersionError(SenderError):
    """A protocol or payload version that this build does not read."""


class BackboneMismatchError(SenderError):
    """Features of another backbone than the one accepted."""


class CodecRefusedError(SenderError):
    """A codec that the server does not accept."""


class GuardRefusedError(SenderError):
    """Features under another guard than the one that the server asks for."""


class IntegrityError(SenderError):
    """Bytes do not match their declared checksum or identity."""


class UnauthenticatedError(SenderError):
    """One side cannot prove who it is: no certificate, or an expired, revoked or unknown one."""


class PermissionDeniedError(SenderError):
    """Who asks is known, but may not have this: another vehicle's scene, or a call of another role."""
