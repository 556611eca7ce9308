"""Subcommands that are imported only when used, so that `--help` is fast and optional libraries stay optional."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import click
import typer
from typer.core import TyperGroup

from shared_models.errors import MissingDependencyError

OWN_PACKAGES = ("shared_models", "protos", "vehicle_client", "server", "upcycle")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One subcommand: where its typer app is, its line in `--help`, and the extra that brings its libraries."""

    target: str
    help: str
    extra: str


def is_own(error: ModuleNotFoundError) -> bool:
    """Whether a module inside an installed package of the project was not found; a whole package may be left out."""
    package, dot, _ = (error.name or "").partition(".")
    return bool(dot) and package in OWN_PACKAGES


def missing_library(name: str, entry: Entry, error: ModuleNotFoundError) -> MissingDependencyError:
    """The error that says what the subcommand lacks and how it is installed."""
    return MissingDependencyError(
        f"'upcycle {name}' needs the module {error.name!r}, which is not installed; "
        f"install it with: pip install 'upcycle-fleet[{entry.extra}]'"
    )


def load_app(name: str, entry: Entry) -> click.Command:
    """The click command of the typer app that `entry` points to.

    Raises:
        MissingDependencyError: a library that the subcommand needs is not installed.
    """
    module, _, attribute = entry.target.partition(":")
    try:
        app = getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        if is_own(error):
            raise  # a defect of this build, which no installation mends
        raise missing_library(name, entry, error) from error
    command = typer.main.get_command(app)
    command.name = name
    return command


class LazyCommand(click.Command):
    """Stands for a subcommand in listings; becomes the real one when a context is made for it."""

    def __init__(self, name: str, entry: Entry) -> None:
        super().__init__(name, help=entry.help, short_help=entry.help)
        self.rich_help_panel = "Commands"
        self._entry = entry

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        real = load_app(self.name or "", self._entry)
        return real.make_context(info_name, args, parent=parent, **extra)


def lazy_group(table: Mapping[str, Entry]) -> type[TyperGroup]:
    """A typer group class whose subcommands are those of `table`."""

    class LazyGroup(TyperGroup):
        def list_commands(self, ctx: click.Context) -> list[str]:
            return list(table)

        def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
            entry = table.get(cmd_name)
            return None if entry is None else LazyCommand(cmd_name, entry)

    return LazyGroup
