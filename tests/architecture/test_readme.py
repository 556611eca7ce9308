"""What README and docs tell people to type exists."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from upcycle.cli import app

REPOSITORY = Path(__file__).resolve().parents[2]
TEXTS = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]


def shell_lines(path: Path) -> list[str]:
    """The command lines of all ```sh blocks, continued lines joined."""
    blocks = re.findall(r"^```(?:sh|bash|console)\n(.*?)^```", path.read_text(encoding="utf-8"), re.S | re.M)
    joined = "\n".join(blocks).replace("\\\n", " ")
    return [line.strip().removeprefix("$ ") for line in joined.splitlines() if line.strip()]


def commands(beginning: str) -> list[str]:
    lines = {line for path in TEXTS for line in shell_lines(path)}
    return sorted({line.partition(" #")[0].strip() for line in lines if re.match(rf"(\S+/)?{beginning}\b", line)})


@pytest.mark.parametrize("line", commands("upcycle"))
def test_upcycle_commands_exist_with_their_options(line: str):
    words = [word for word in shlex.split(line)[1:] if word not in {"&", "|"}]
    named = [w for w in words if re.fullmatch(r"[a-z][a-z-]*", w)]
    runner = CliRunner()
    for depth in (3, 2, 1):
        result = runner.invoke(app, [*named[:depth], "--help"], terminal_width=300)
        if result.exit_code == 0:
            break
    assert result.exit_code == 0, f"{line}: {result.output}"
    known = set(re.findall(r"--[a-z][a-z0-9-]*", result.output))
    unknown = {word for word in words if word.startswith("--")} - known - {"--help"}
    assert not unknown, f"{line}: {sorted(unknown)} is no option; known: {sorted(known)}"


@pytest.mark.parametrize("line", commands("make"))
def test_make_targets_exist(line: str):
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.M))
    wanted = {word for word in shlex.split(line)[1:] if "=" not in word}
    assert wanted <= targets, f"{line}: {sorted(wanted - targets)} is no target of the Makefile"


@pytest.mark.parametrize("line", commands("python3?"))
def test_modules_that_are_run_exist(line: str):
    module = re.search(r" -m (\S+)", line)
    if module is None or module[1] in {"pip", "pytest", "venv"}:
        return
    path = REPOSITORY / Path(*module[1].split("."))
    assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), line


@pytest.mark.parametrize("path", [*TEXTS, REPOSITORY / "CONTRIBUTING.md"], ids=lambda path: path.name)
def test_links_into_the_repository_lead_somewhere(path: Path):
    for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), f"{path.name} links to {target}, which does not exist"


def test_the_interpreter_is_a_supported_one():
    assert (3, 11) <= sys.version_info[:2] <= (3, 13)
