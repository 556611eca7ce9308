"""Log lines: extra fields are shown, and cannot break the line."""

from __future__ import annotations

import logging
import subprocess
import sys
from typing import Any

import pytest

from upcycle.log_lines import FieldFormatter


def line(message: str, *arguments: Any, **extra: Any) -> str:
    record = logging.getLogger("a").makeRecord("a", logging.INFO, "f", 1, message, arguments, None, extra=extra)
    return FieldFormatter().format(record)


def test_fields_follow_the_message() -> None:
    shown = line("scene stored: %s", "x", scene="0123456789ab", vehicle="fedcba98", bytes=10_000)
    assert shown.endswith(" INFO a scene stored: x scene=0123456789ab vehicle=fedcba98 bytes=10000")


def test_without_fields_nothing_is_added() -> None:
    assert line("stopping").endswith(" INFO a stopping")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("two words", "'two words'"),
        ("new\nline", r"'new\nline'"),
        ("", "''"),
        ("a=b", "'a=b'"),
        (1.5, "1.5"),
        (b"secret", "<6 bytes>"),
        ("x" * 500, "x" * 200 + "..."),
    ],
)
def test_values_stay_on_the_line(value: object, shown: str) -> None:
    assert line("m", field=value).endswith(f" m field={shown}")


def test_a_traceback_comes_below_the_fields() -> None:
    try:
        raise ValueError("why")
    except ValueError:
        record = logging.getLogger("a").makeRecord("a", 40, "f", 1, "m", (), sys.exc_info(), extra={"scene": "ab"})
    first, *below = FieldFormatter().format(record).splitlines()
    assert first.endswith("m scene=ab")
    assert below[-1] == "ValueError: why"


def test_the_command_logs_so(repository) -> None:
    code = (
        "import logging, sys, upcycle.cli as cli\n"
        "cli.root(debug=False, verbose=True, show_version=False)\n"
        "logging.getLogger('x').info('m', extra={'scene': 'ab'})\n"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, timeout=120)
    assert run.stderr.rstrip().endswith("INFO x m scene=ab"), run.stderr
