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


def upgrade(connection: Connection, name: str) -> None:
    """Run what is missing, in the transaction of `connection`; `name` is the database's, for messages.

    Raises:
        StorageError: the catalogue was written by a newer version.
    """
    try:
        command.upgrade(alembic_config(connection), "head")
    except CommandError as error:
        raise StorageError(
            f"{name}: the catalogue was written by a newer version ({error}): update this server, or give another one"
        ) from error


def check_current(connection: Connection, name: str) -> None:
    """Refuse a catalogue of another schema than this build's; changes nothing.

    Raises:
        StorageError: the catalogue was written by another version.
    """
    found = MigrationContext.configure(connection).get_current_revision()
    expected = ScriptDirectory.from_config(alembic_config(connection)).get_current_head()
    if found != expected:
        raise StorageError(
            f"{name}: the catalogue has schema {found}, this build reads {expected}: start this version's server on "
            "it once, or use the version that wrote it"
        )


def alembic_config(connection: Connection) -> Config:
    """What Alembic's commands take to work in the transaction of `connection`."""
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
