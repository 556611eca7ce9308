"""Configurations as plain mappings (JSON, TOML) and back: strict, by the types of the dataclass fields."""

from __future__ import annotations

import dataclasses
import sys
import tomllib
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from shared_models.errors import ConfigError, InvalidValueError

Config = TypeVar("Config")


def to_dict(config: Any) -> dict[str, Any]:
    """`config`, a dataclass, as a mapping of plain values: tuples become lists, nested dataclasses mappings."""
    return {field.name: _plain(getattr(config, field.name)) for field in dataclasses.fields(config)}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return to_dict(value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


def from_dict(cls: type[Config], mapping: Mapping[str, Any]) -> Config:
    """A `cls` from plain values; fields that `mapping` leaves out keep their defaults.

    Raises:
        ConfigError: an unknown or missing key, or a value of the wrong type or range; the message has its dotted key.
    """
    config: Config = _dataclass(cls, mapping, "")
    return config


def from_toml(cls: type[Config], path: Path) -> Config:
    """A `cls` from a TOML file.

    Raises:
        ConfigError: the file cannot be read or parsed, or as in `from_dict`; the message names the file.
    """
    try:
        mapping = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error
    try:
        return from_dict(cls, mapping)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def _dataclass(cls: Any, value: Any, key: str) -> Any:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{_shown(key)}: expected a table of settings, got {value!r}")
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}
    unknown = next((name for name in value if name not in fields), None)
    if unknown is not None:
        raise ConfigError(f"{_join(key, str(unknown))}: unknown key; known here: {', '.join(fields)}")
    for name, field in fields.items():
        has_default = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
        if name not in value and not has_default:
            raise ConfigError(f"{_join(key, name)}: missing, and it has no default")
    hints = get_type_hints(cls)
    arguments = {name: _convert(hints[name], item, _join(key, name)) for name, item in value.items()}
    try:
        return cls(**arguments)
    except InvalidValueError as error:  # the dataclass checks itself
        raise ConfigError(f"{_shown(key)}: {error}") from error


def _convert(hint: Any, value: Any, key: str) -> Any:
    """`value` as the type `hint` asks for."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if dataclasses.is_dataclass(hint):
        return _dataclass(hint, value, key)
    if origin in (Union, types.UnionType):
        return _union(arguments, value, key)
    if origin is tuple:
        return _tuple(arguments, value, key)
    if origin in (dict, Mapping):
        return _mapping(arguments, value, key)
    if origin is Literal:
        if value not in arguments:
            raise ConfigError(f"{key}: expected one of {', '.join(map(repr, arguments))}, got {value!r}")
        return value
    return _scalar(hint, value, key)


def _scalar(hint: Any, value: Any, key: str) -> Any:
    is_bool = isinstance(value, bool)
    if hint is bool and is_bool:
        return value
    if hint is int and isinstance(value, int) and not is_bool:
        return value
    if hint is float and isinstance(value, int | float) and not is_bool and abs(value) <= sys.float_info.max:
        return float(value)
    if hint is str and isinstance(value, str):
        return value
    if hint is Path and isinstance(value, str):
        return Path(value)
    if hint not in (bool, int, float, str, Path):
        raise ConfigError(f"{key}: fields of type {hint} cannot be read from a file")
    expected = "finite float" if hint is float else hint.__name__
    raise ConfigError(f"{key}: expected {expected}, got {value!r}")


def _union(arguments: tuple[Any, ...], value: Any, key: str) -> Any:
    if value is None and types.NoneType in arguments:
        return None
    others = [hint for hint in arguments if hint is not types.NoneType]
    if len(others) == 1:
        return _convert(others[0], value, key)
    for hint in others:
        try:
            return _convert(hint, value, key)
        except ConfigError:
            continue
    raise ConfigError(f"{key}: expected one of the types {others}, got {value!r}")


def _tuple(arguments: tuple[Any, ...], value: Any, key: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise ConfigError(f"{key}: expected a list, got {value!r}")
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        hints: tuple[Any, ...] = (arguments[0],) * len(value)
    else:
        hints = arguments
    if len(hints) != len(value):
        raise ConfigError(f"{key}: expected {len(hints)} values, got {len(value)}: {value!r}")
    return tuple(_convert(hint, item, f"{key}[{i}]") for i, (hint, item) in enumerate(zip(hints, value, strict=True)))


def _mapping(arguments: tuple[Any, ...], value: Any, key: str) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise ConfigError(f"{key}: expected a table, got {value!r}")
    return {name: _convert(arguments[1], item, _join(key, name)) for name, item in value.items()}


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name


def _shown(key: str) -> str:
    return key or "configuration"
