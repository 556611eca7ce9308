"""Bring a catalogue to this build's schema, from the migrations that are packaged with it."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util.exc import CommandError
from sqlalchemy import Connection

from shared_models.errors import StorageError

_MIGRATIONS = Path(__file__).resolve().parent / "migrations"


def upgrade(connection: Connection, path: Path) -> None:
    """Run what is missing, in the transaction of `connection`; `path` is for messages.

    Raises:
        StorageError: the catalogue was written by a newer version.
    """
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise StorageError(
            f"{path}: the catalogue was written by a newer version ({error}): update this server, or give "
            "another folder"
        ) from error
