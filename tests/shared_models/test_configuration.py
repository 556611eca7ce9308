from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from shared_models import configuration
from shared_models.errors import ConfigError, InvalidValueError


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    size_m: float = 0.5
    steps: tuple[int, ...] = (1, 2)
    corner: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        if self.size_m <= 0:
            raise InvalidValueError(f"Inner.size_m: expected more than 0, got {self.size_m}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    name: str
    count: int = 3
    is_fast: bool = False
    limit: int | None = None
    mode: Literal["a", "b"] = "a"
    weights: dict[str, float] = field(default_factory=dict)
    inner: Inner = field(default_factory=Inner)
    many: tuple[Inner, ...] = ()


FULL = Outer(
    name="x", count=4, is_fast=True, limit=7, mode="b", weights={"cls": 1.0}, inner=Inner(size_m=2.0), many=(Inner(),)
)


@pytest.mark.parametrize("config", [FULL, Outer(name="y")])
def test_what_is_written_comes_back_equal(config: Outer) -> None:
    assert configuration.from_dict(Outer, configuration.to_dict(config)) == config


def test_plain_values_are_plain() -> None:
    assert configuration.to_dict(FULL)["many"] == [{"size_m": 0.5, "steps": [1, 2], "corner": [0.0, 1.0]}]


def test_integers_serve_as_floats_and_defaults_fill_up() -> None:
    config = configuration.from_dict(Outer, {"name": "x", "inner": {"size_m": 2}})
    assert config.inner.size_m == 2.0
    assert isinstance(config.inner.size_m, float)
    assert config.inner.steps == (1, 2)


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({}, "name: missing"),
        ({"name": 3}, "name: expected str, got 3"),
        ({"name": "x", "cuont": 3}, "cuont: unknown key; known here: name, count, is_fast"),
        ({"name": "x", "inner": {"size": 3}}, "inner.size: unknown key; known here: size_m, steps, corner"),
        ({"name": "x", "inner": {"size_m": -1}}, "inner: Inner.size_m: expected more than 0"),
        ({"name": "x", "inner": 3}, "inner: expected a table of settings, got 3"),
        ({"name": "x", "inner": {"size_m": float("nan")}}, "inner.size_m: expected finite float, got nan"),
        ({"name": "x", "inner": {"steps": [1, "b"]}}, r"inner.steps\[1\]: expected int, got 'b'"),
        ({"name": "x", "inner": {"corner": [1, 2, 3]}}, "inner.corner: expected 2 values, got 3"),
        ({"name": "x", "many": [{}, {"steps": 1}]}, r"many\[1\].steps: expected a list"),
        ({"name": "x", "count": True}, "count: expected int, got True"),
        ({"name": "x", "count": 1.5}, "count: expected int, got 1.5"),
        ({"name": "x", "is_fast": 1}, "is_fast: expected bool"),
        ({"name": "x", "limit": "many"}, "limit: expected int"),
        ({"name": "x", "mode": "c"}, "mode: expected one of 'a', 'b', got 'c'"),
        ({"name": "x", "weights": {"cls": "1"}}, "weights.cls: expected finite float"),
    ],
)
def test_errors_name_the_dotted_key(mapping: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        configuration.from_dict(Outer, mapping)


def test_toml_files(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text('name = "x"\n[inner]\nsize_m = 3\n')
    assert configuration.from_toml(Outer, path) == Outer(name="x", inner=Inner(size_m=3.0))
    path.write_text('name = "x"\nspeed = 1\n')
    with pytest.raises(ConfigError, match="run.toml: speed: unknown key"):
        configuration.from_toml(Outer, path)
    path.write_text("name = \n")
    with pytest.raises(ConfigError, match="run.toml: not valid TOML.*line 1"):
        configuration.from_toml(Outer, path)
    with pytest.raises(ConfigError, match="cannot be read"):
        configuration.from_toml(Outer, tmp_path / "none.toml")
