"""The bandwidth that the command line asks for: a TOML file, and above it one link with its settings."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from shared_models.configuration import from_dict
from shared_models.datasets import settings_of
from shared_models.errors import ConfigError, InvalidValueError
from vehicle_client.bandwidth import BandwidthConfig
from vehicle_client.link import LINKS


def bandwidth_config(link: str | None, path: Path | None) -> BandwidthConfig | None:
    """What `--link` and `--bandwidth` ask for together; None where neither is given: nothing is limited or counted.

    link: `cellular,daily_bytes=200000000`, `file:PATH` or `command:LINE`; its settings go before the file's.

    Raises:
        ConfigError: a word, key or value is wrong, or the file cannot be read.
    """
    if link is None and path is None:
        return None
    settings = {} if path is None else _read(path)
    if link is not None:
        name, own = _split(link)
        settings["link"] = name
        if own:
            settings[name] = {**_table(settings, name), **own}
    try:
        return from_dict(BandwidthConfig, settings)
    except (ConfigError, InvalidValueError) as error:
        raise ConfigError(f"{path or '--link'}: {error}") from error


def _split(link: str) -> tuple[str, dict[str, Any]]:
    if link.startswith(("file:", "command:")):
        return link, {}  # these may contain commas; settings come from the file
    name, *words = link.split(",")
    if name not in LINKS:
        raise ConfigError(f"--link: expected {', '.join(LINKS)}, file:PATH or command:LINE, got {name!r}")
    return name, settings_of(link, words, "--link")


def _table(settings: dict[str, Any], name: str) -> dict[str, Any]:
    table = settings.get(name, {})
    if not isinstance(table, dict):
        raise ConfigError(f"--bandwidth: expected a table of settings in {name}, got {table!r}")
    return table


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error
