from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest
import typer
from typer.testing import CliRunner

from shared_models.errors import (
    DatasetError,
    MissingDependencyError,
    PayloadError,
    ServerUnreachableError,
    UnknownNameError,
)
from upcycle import cli, lazy


def run(repository: Path, code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, timeout=120)


def test_help_lists_every_command_and_imports_none(repository):
    code = (
        "import sys, upcycle.cli\n"
        "sys.argv = ['upcycle', '--help']\n"
        "try:\n    upcycle.cli.main()\n"
        "except SystemExit as end:\n    assert end.code == 0, end.code\n"
        "heavy = {'torch', 'numpy', 'grpc', 'sqlalchemy', 'fastapi', 'vehicle_client', 'server'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    result = run(repository, code)
    assert result.returncode == 0, result.stderr
    for name in cli.COMMANDS:
        assert name in result.stdout


def test_a_missing_library_is_named_with_its_extra():
    entry = lazy.Entry(target="no_such_library.cli:app", help="", extra="server")
    with pytest.raises(MissingDependencyError, match=r"'no_such_library'.*pip install 'upcycle-fleet\[server\]'"):
        lazy.load_app("server", entry)


def test_a_missing_module_of_our_own_is_a_defect_and_not_hidden():
    with pytest.raises(ModuleNotFoundError, match="upcycle.no_such_module"):
        lazy.load_app("x", lazy.Entry(target="upcycle.no_such_module:app", help="", extra="dev"))


@pytest.fixture
def failing(monkeypatch):
    """Puts a command `fail` into the table that raises the given error."""

    def install(error: BaseException) -> None:
        app = typer.Typer(pretty_exceptions_enable=False)

        @app.command()
        def fail() -> None:
            raise error

        monkeypatch.setattr(lazy, "load_app", lambda name, entry: typer.main.get_command(app))
        monkeypatch.setattr(sys, "argv", ["upcycle", "vehicle"])
        monkeypatch.delenv("UPCYCLE_DEBUG", raising=False)

    return install


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (DatasetError("000001.bin: expected a multiple of 16 bytes"), 2),
        (UnknownNameError("codec", "int9", ["int8"]), 2),
        (ServerUnreachableError("no connection to localhost:1"), 3),
        (PayloadError("payload: not ours"), 4),
    ],
)
def test_errors_are_one_line_and_an_exit_code(failing, capsys, error, code):
    failing(error)
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == code
    assert capsys.readouterr().err == f"upcycle: {error}\n"


def test_debug_shows_the_traceback(failing, monkeypatch):
    failing(DatasetError("broken"))
    monkeypatch.setenv("UPCYCLE_DEBUG", "1")
    with pytest.raises(DatasetError):
        cli.main()


def test_the_debug_option_reaches_processes_that_the_command_starts(failing, monkeypatch):
    failing(DatasetError("broken"))
    monkeypatch.setattr(sys, "argv", ["upcycle", "--debug", "vehicle"])
    monkeypatch.setenv("UPCYCLE_DEBUG", "")
    with pytest.raises(DatasetError):
        cli.main()


def test_ctrl_c_ends_quietly(failing):
    failing(KeyboardInterrupt())
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 130


def test_other_errors_are_not_swallowed(failing):
    failing(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        cli.main()


def test_an_unknown_command_is_a_usage_error():
    result = CliRunner().invoke(cli.app, ["fly"])
    assert result.exit_code == 2
    assert "No such command 'fly'" in result.output


def test_version():
    result = CliRunner().invoke(cli.app, ["--version"])
    assert result.exit_code == 0
    assert result.output.startswith("upcycle ")


def test_listings_stand_in_for_the_commands_without_loading_them():
    group = typer.main.get_command(cli.app)
    assert isinstance(group, click.Group)
    with click.Context(group) as context:
        assert group.list_commands(context) == list(cli.COMMANDS)
        assert isinstance(group.get_command(context, "server"), lazy.LazyCommand)
