"""The table of selections, and how they are written on the command line and in files."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from shared_models.configuration import from_dict
from shared_models.datasets import settings_of
from shared_models.errors import ConfigError
from shared_models.table import load
from vehicle_client.selection import Combination, Selection
from vehicle_client.selector import SelectorConfig

SELECTIONS = {
    "all_of": "vehicle_client.selections.all_of:AllOfSelection",
    "any_of": "vehicle_client.selections.any_of:AnyOfSelection",
    "distance": "vehicle_client.selections.distance:DistanceSelection",
    "elapsed_time": "vehicle_client.selections.elapsed_time:ElapsedTimeSelection",
    "every": "vehicle_client.selections.every:EverySelection",
    "novelty": "vehicle_client.selections.novelty:NoveltySelection",
    "uncertainty": "vehicle_client.selections.uncertainty:UncertaintySelection",
}


def build(name: str, settings: Mapping[str, Any] | None = None) -> Selection:
    """The selection called `name` with its settings; `of` lists the rules of a combination, each with its `rule`.

    Raises:
        UnknownNameError: there is no such selection; the message lists the known ones.
        ConfigError: a setting is unknown, of the wrong type or out of range, or a combination has no rules.
    """
    settings = dict(settings or {})
    cls: Any = load(SELECTIONS, "selection", name)
    if not issubclass(cls, Combination):
        return _named(name, lambda: cls(_config(cls, settings)))
    parts = settings.pop("of", None)
    if not isinstance(parts, list) or not parts or not all(isinstance(part, Mapping) for part in parts):
        raise ConfigError(f"selection {name}: expected the rules that it combines in `of`, got {parts!r}")
    children = tuple(from_mapping(part)[0] for part in parts)
    return _named(name, lambda: cls(_config(cls, settings), children))


def from_mapping(mapping: Mapping[str, Any]) -> tuple[Selection, dict[str, Any]]:
    """The selection that `rule` names, and the settings that are the selector's and not the rule's.

    Raises:
        UnknownNameError, ConfigError: as `build`.
    """
    settings = dict(mapping)
    name = settings.pop("rule", None)
    if not isinstance(name, str):
        known = ", ".join(SELECTIONS)
        raise ConfigError(f"selection: expected the name of one in `rule`, got {name!r}; known: {known}")
    own = {field.name: settings.pop(field.name) for field in fields(SelectorConfig) if field.name in settings}
    return build(name, settings), own


def parse(given: tuple[str, ...]) -> dict[str, Any] | None:
    """What `--select` options ask for, as a mapping; None where there are none.

    Each is `RULE,KEY=VALUE,...` or a TOML file. `any_of+every,n=50+novelty` combines; several options must all agree.
    Settings of the selector (`scenes_per_hour`, ...) may stand behind any rule and hold for the whole.

    Raises:
        ConfigError: one is not of that form, or a file cannot be read.
    """
    if not given:
        return None
    parts = [_from_file(Path(text)) if text.endswith(".toml") else _from_text(text) for text in given]
    if len(parts) == 1:
        return parts[0]
    own = {field.name for field in fields(SelectorConfig)}
    whole: dict[str, Any] = {"rule": "all_of", "of": [{k: v for k, v in p.items() if k not in own} for p in parts]}
    return whole | {key: value for part in parts for key, value in part.items() if key in own}


def selection_of(mapping: Mapping[str, Any]) -> tuple[Selection, SelectorConfig]:
    """What a mapping (`parse`, or a table of a run file) asks for.

    Raises:
        UnknownNameError, ConfigError: as `build`.
    """
    selection, own = from_mapping(mapping)
    return selection, _named("selector", lambda: from_dict(SelectorConfig, own))


def _from_text(text: str) -> dict[str, Any]:
    first, *others = re.split(r"\+(?=[a-z])", text)
    own = {field.name for field in fields(SelectorConfig)}
    whole = _rule(first, text)
    if others:
        parts = [_rule(other, text) for other in others]
        whole["of"] = [{k: v for k, v in part.items() if k not in own} for part in parts]
        whole |= {key: value for part in parts for key, value in part.items() if key in own}
    return whole


def _rule(words: str, text: str) -> dict[str, Any]:
    name, *settings = words.split(",")
    return {"rule": name, **settings_of(text, settings, "selection")}


def _from_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error


def _config(cls: Any, settings: Mapping[str, Any]) -> Any:
    return from_dict(cls.config_class, settings)


def _named(name: str, make: Any) -> Any:
    try:
        return make()
    except (ConfigError, ValueError) as error:
        raise ConfigError(f"selection {name}: {error}") from error
