"""docs/training.md says what the code does."""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from server.training.experiment import ExperimentConfig
from server.training.loop_config import LoopConfig
from server.training.run_config import load_run, parse_run
from shared_models.configuration import from_dict
from tests.run_file_reference import PAGE, reference, updated


@pytest.fixture(scope="module")
def page() -> str:
    return PAGE.read_text(encoding="utf-8")


def test_the_reference_is_that_of_the_configurations(page: str) -> None:
    assert updated(page) == page, "run `python -m tests.run_file_reference`"


def test_the_reference_has_every_key_of_the_loop() -> None:
    section = reference().split("#### `[loop]`")[1].split("####")[0]
    for field in fields(LoopConfig):
        assert f"| `{field.name}` |" in section
        assert re.search(rf"\b{field.name}\b.*:", section), f"LoopConfig says nothing about {field.name}"


def test_the_examples_can_be_read(page: str) -> None:
    run, experiment = (tomllib.loads(text) for text in re.findall(r"^```toml\n(.*?)^```", page, re.S | re.M))
    assert parse_run(run, "page").loop.epochs == 2
    assert from_dict(ExperimentConfig, experiment).methods[1].starts_from == "baseline"


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parents[3] / "deploy/runs").glob("*.toml")), ids=lambda p: p.name
)
def test_shipped_run_files_are_valid(path: Path) -> None:
    if {"methods", "victims", "cells"} & tomllib.loads(path.read_text(encoding="utf-8")).keys():
        pytest.skip("an experiment, an audit or a curve")
    assert load_run(path).name == path.stem


def test_every_example_in_the_text_is_there(page: str, repository: Path) -> None:
    for name in set(re.findall(r"deploy/runs/[a-z-]+\.toml", page)):
        assert (repository / name).is_file()
