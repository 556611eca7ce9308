"""The pinned installation is complete and says nothing about the machine that it was made on."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def pins() -> dict[str, str]:
    lines = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines()
    wanted = [line for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in (line.split("==") for line in wanted)}


def test_every_line_is_an_exact_version_without_build_tag():
    assert all(re.fullmatch(r"[0-9][0-9a-z.]*", version) for version in pins().values())


def test_the_versions_that_results_depend_on():
    expected = {"torch": "2.13.0", "spconv": "2.3.8", "spconv-cu126": "2.3.8", "grpcio-tools": "1.81.1"}
    assert expected.items() <= pins().items()
    assert pins()["protobuf"].startswith("6.33.")


def declared() -> list[Requirement]:
    lines = [*PROJECT["dependencies"], *(line for extra in PROJECT["optional-dependencies"].values() for line in extra)]
    return [Requirement(line) for line in lines if not line.startswith(PROJECT["name"])]


@pytest.mark.parametrize("requirement", declared(), ids=str)
def test_what_is_declared_is_pinned_within_its_bounds(requirement: Requirement):
    assert requirement.specifier.contains(pins()[canonicalize_name(requirement.name)])


def test_what_the_dependencies_need_is_pinned():
    waiting, seen = [canonicalize_name(r.name) for r in declared()], set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        waiting += [canonicalize_name(r.name) for r in needed_by(name)]
    assert not seen - pins().keys()


def needed_by(name: str) -> list[Requirement]:
    try:
        lines = requires(name) or []
    except PackageNotFoundError:
        return []
    parsed = [Requirement(line) for line in lines]
    return [r for r in parsed if r.marker is None or r.marker.evaluate({"extra": ""})]


def test_the_build_tool_is_pinned_alike():
    build = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["build-system"]["requires"]
    assert build == [f"setuptools=={pins()['setuptools']}"]


@pytest.mark.parametrize("name", ["Makefile", "constraints.txt", "pyproject.toml", "deploy/setup.sh", ".ci/run"])
def test_no_registry_is_named(name: str):
    text = (REPOSITORY / name).read_text(encoding="utf-8")
    assert not re.search(r"index-url|find-links|https?://|trusted-host", text)
