"""The vehicle's name in its state folder: scenes that wait there carry it, so the folder belongs to one vehicle."""

from __future__ import annotations

from pathlib import Path

from shared_models.errors import ConfigError, InvalidValueError, StorageError
from shared_models.records import check
from vehicle_client.durable import sync_directory, write_durably

FILE_NAME = "vehicle_id"


def kept_name(state: Path) -> str | None:
    """The vehicle whose state this is; None where the folder is new.

    Raises:
        StorageError: the file that holds the name cannot be read, or holds no name.
    """
    path = state / FILE_NAME
    try:
        name = path.read_text(encoding="utf-8").rstrip("\n")
        check.name("state folder", FILE_NAME, name)
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError, InvalidValueError) as error:
        raise StorageError(f"{path}: expected the vehicle's name: {error}; write it there, or give --state") from error
    return name


def check_name(state: Path, name: str) -> None:
    """Raises ConfigError: the folder is another vehicle's, whose scenes the server would refuse from this one."""
    kept = kept_name(state)
    if kept is not None and kept != name:
        raise ConfigError(
            f"{state} is the state of vehicle {kept!r}, not of {name!r}: leave --vehicle-id and "
            f"UPCYCLE_VEHICLE_ID out to go on as {kept!r}, or give {name!r} a state folder of its own"
        )


def keep_name(state: Path, name: str) -> None:
    """Write the name at first use; durable when it returns.

    Raises:
        ConfigError: the folder is another vehicle's.
        StorageError: it cannot be written.
    """
    check_name(state, name)
    path = state / FILE_NAME
    if path.exists():
        return
    try:
        state.mkdir(parents=True, exist_ok=True)
        write_durably(path, f"{name}\n".encode())
        sync_directory(state.parent)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror}; check space and permissions") from error
