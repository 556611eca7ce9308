"""Which guard the scenes of a drive get: the one that the server's policy names, else the vehicle's own."""

from __future__ import annotations

import logging
from pathlib import Path

from protos.policy import Policy
from shared_models import guards
from shared_models.errors import CallerError, ConfigError, GuardRefusedError, StorageError
from shared_models.guard import Guard
from vehicle_client.durable import make_directory, write_durably

logger = logging.getLogger(__name__)

FILE_NAME = "guard"  # in the state folder: what the server asked for last, for drives that begin without it


class DriveGuard:
    """Asked before each frame; the server may change its policy while the vehicle drives."""

    def __init__(self, own: str, state: Path, is_detecting: bool) -> None:
        """own: as `shared_models.guards.build` takes it; "": as the server says, or else the default.

        Raises:
            UnknownNameError, ConfigError: there is no such guard, or it needs detections and the vehicle makes none.
        """
        self._own, self._path, self._is_detecting = own, state / FILE_NAME, is_detecting
        self._own_description = ""
        if own:
            guard = guards.build(own)
            if guard.needs_detections and not is_detecting:
                raise ConfigError(f"guard {own}: it needs the vehicle's detections: leave out --no-detections")
            self._own_description = guard.described()
        self._checked = ""
        self._kept: str | None = None

    def check(self, policy: Policy) -> None:
        """Find out whether this vehicle can do what the policy asks.

        Raises:
            GuardRefusedError: it cannot apply that guard, or was told to apply another one.
        """
        wanted = policy.guard
        if not wanted or wanted == self._checked:
            return
        if self._own and self._own_description != wanted:
            raise GuardRefusedError(
                f"the server asks for guard {wanted!r}, this drive has --guard {self._own_description!r}: leave out "
                "--guard"
            )
        guard = _built(wanted)
        if guard.described() != wanted:
            raise GuardRefusedError(
                f"the server asks for guard {wanted!r}, this version would apply {guard.described()!r}: update the "
                "older side"
            )
        if guard.needs_detections and not self._is_detecting:
            raise GuardRefusedError(f"the server asks for guard {wanted!r}: leave out --no-detections, which it needs")
        self._checked = wanted

    def now(self, policy: Policy | None) -> str:
        """The guard for the next scene. policy: the server's, None where it has not answered yet.

        Raises:
            GuardRefusedError: as `check`. StorageError: the state folder cannot be read or written.
        """
        if policy is None:
            return self._own or self._remembered() or guards.DEFAULT
        self.check(policy)
        self._remember(policy.guard)
        return policy.guard or self._own or guards.DEFAULT

    def _remembered(self) -> str:
        if self._kept is None:
            try:
                self._kept = self._path.read_text(encoding="utf-8").rstrip("\n")
            except FileNotFoundError:
                self._kept = ""
            except (OSError, UnicodeDecodeError) as error:
                raise StorageError(f"{self._path}: cannot be read: {error}; delete it") from error
            _built(self._kept or guards.DEFAULT)
        return self._kept

    def _remember(self, guard: str) -> None:
        if guard == self._kept:
            return
        try:
            if guard or self._path.exists():
                make_directory(self._path.parent)
                write_durably(self._path, f"{guard}\n".encode())
        except OSError as error:
            raise StorageError(f"{self._path}: cannot be written: {error.strerror}") from error
        logger.info("guard of the server's policy", extra={"guard": guard or "as the vehicle likes"})
        self._kept = guard


def _built(name: str) -> Guard:
    try:
        return guards.build(name)
    except CallerError as error:
        raise GuardRefusedError(
            f"the server asks for guard {name!r}, which this vehicle cannot apply ({error}): update the vehicle"
        ) from error
