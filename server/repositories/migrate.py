"""Bring a catalogue to this build's schema, from the migrations that are packaged with it."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Connection

from shared_models.errors import StorageError

_MIGRATIONS = Path(__file__).resolve().parent / "migrations"


def upgrade(connection: Connection, path: Path) -> None:
    """Run what is missing, in the transaction of `connection`; `path` is for messages.

    Raises:
        StorageError: the catalogue was written by a newer version.
    """
    try:
        command.upgrade(_config(connection), "head")
    except CommandError as error:
        raise StorageError(
            f"{path}: the catalogue was written by a newer version ({error}): update this server, or give "
            "another folder"
        ) from error


def check_current(connection: Connection, path: Path) -> None:
    """Refuse a catalogue of another schema than this build's; changes nothing.

    Raises:
        StorageError: the catalogue was written by another version.
    """
    found = MigrationContext.configure(connection).get_current_revision()
    expected = ScriptDirectory.from_config(_config(connection)).get_current_head()
    if found != expected:
        raise StorageError(
            f"{path}: the catalogue has schema {found}, this build reads {expected}: start this version's server on "
            "the folder once, or use the version that wrote it"
        )


def _config(connection: Connection) -> Config:
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
