"""Files and functions stay small enough to be read in one go."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

MAX_FILE_LINES, MAX_FUNCTION_LINES, MAX_NESTING = 400, 70, 4
PACKAGES = ("shared_models", "protos", "vehicle_client", "server", "upcycle", "benchmarks", "tests")
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "misc"}
BLOCKS = (ast.For, ast.AsyncFor, ast.While, ast.If, ast.With, ast.AsyncWith, ast.Try)
REPOSITORY = Path(__file__).resolve().parents[2]


def written_files() -> list[Path]:
    files = [path for package in PACKAGES for path in sorted((REPOSITORY / package).rglob("*.py"))]
    return [path for path in files if "_pb2" not in path.name]


def functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def nesting(node: ast.AST, depth: int = 0) -> int:
    """How deep blocks lie in blocks; functions inside count for themselves, and `elif` is no deeper than `if`."""
    deepest = depth
    for field, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                continue
            is_elif = isinstance(node, ast.If) and isinstance(child, ast.If) and field == "orelse" and len(value) == 1
            is_deeper = isinstance(child, BLOCKS) and not is_elif
            deepest = max(deepest, nesting(child, depth + is_deeper))
    return deepest


def names(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(REPOSITORY)) for path in paths]


FILES = written_files()


def test_there_is_something_to_check():
    assert len(FILES) > 50


@pytest.mark.parametrize("path", FILES, ids=names(FILES))
def test_file(path: Path):
    name = path.relative_to(REPOSITORY)
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= MAX_FILE_LINES, f"{name} has {lines} lines, at most {MAX_FILE_LINES}: split it by idea"
    assert path.stem not in FORBIDDEN_NAMES, f"{name}: name the file after what it holds"
    for function in functions(path):
        where = f"{name}:{function.lineno} {function.name}"
        length = (function.end_lineno or 0) - function.lineno + 1
        assert length <= MAX_FUNCTION_LINES, f"{where} has {length} lines, at most {MAX_FUNCTION_LINES}"
        assert nesting(function) <= MAX_NESTING, f"{where} nests {nesting(function)} deep, at most {MAX_NESTING}"


SHIPPED = [path for path in FILES if path.relative_to(REPOSITORY).parts[0] != "tests"]


@pytest.mark.parametrize("path", SHIPPED, ids=names(SHIPPED))
def test_nothing_swallows_every_error(path: Path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ExceptHandler):
            continue
        caught = (
            {part.id for part in ast.walk(node.type) if isinstance(part, ast.Name)} if node.type else {"everything"}
        )
        is_passed_on = isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None
        where = f"{path.relative_to(REPOSITORY)}:{node.lineno}"
        is_named = not caught & {"everything", "Exception", "BaseException"}
        assert is_named or is_passed_on, f"{where} catches {caught}: name the errors"
