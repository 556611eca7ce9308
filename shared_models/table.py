"""Tables of interchangeable parts: a plain dict from name to "module:class", loaded only when asked for."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from shared_models.errors import UnknownNameError


def load(table: Mapping[str, str], kind: str, name: str) -> Any:
    """The object that `table` lists under `name`; its module is imported now, not before.

    Raises:
        UnknownNameError: `name` is not in the table; the message lists the known names.
    """
    if name not in table:
        raise UnknownNameError(kind, name, table)
    module, _, attribute = table[name].partition(":")
    return getattr(import_module(module), attribute)
