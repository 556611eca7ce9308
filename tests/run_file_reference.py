"""The reference of keys in docs/training.md, made from the configurations: `python -m tests.run_file_reference`."""

from __future__ import annotations

import inspect
import json
import re
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

from server.training.objectives import OBJECTIVES
from server.training.recipes import RECIPES, recipe_class
from server.training.run_config import RunConfig
from server.training.source_config import SourceConfig
from shared_models.configuration import to_dict
from shared_models.table import load

PAGE = Path(__file__).resolve().parents[1] / "docs" / "training.md"
BEGIN, END = "<!-- made by tests/run_file_reference.py -->", "<!-- end of what is made -->"

Known = dict[tuple[str, str], str]


def reference() -> str:
    """Markdown of every section, its keys and defaults."""
    known: Known = {}
    parts = _sections("", RunConfig(), known)
    parts += [
        "#### `[data.labelled]`, `[data.unlabelled]`, `[data.evaluation]`",
        *_about(SourceConfig(), []),
        "`data.unlabelled` and `data.evaluation` may be left out.",
    ]
    for name in sorted(OBJECTIVES):
        config = load(OBJECTIVES, "objective", name).config_class()
        parts += _sections("objective", config, known, note=f" of detector `{name}`")
    for name in sorted(RECIPES):
        parts += _sections("settings", recipe_class(name).config_class(), known, note=f" of recipe `{name}`")
    return "\n\n".join(parts)


def _sections(path: str, config: Any, known: Known, note: str = "") -> list[str]:
    """The section of `config`, then those of its parts; a part that is known with the same defaults is only named."""
    title = f"#### `[{path}]`{note}" if path else "#### Top of the file"
    same, below = [], []
    for field in fields(config):
        inner, inside = getattr(config, field.name), f"{path}.{field.name}".lstrip(".")
        if not is_dataclass(inner) or inside == "data":
            continue
        key = (type(inner).__name__, json.dumps(to_dict(inner)))
        if key in known:
            same.append(f"`[{inside}]` has the keys and defaults of `[{known[key]}]`.")
        else:
            known[key] = inside
            below += _sections(inside, inner, known, note)
    return [title, *_about(config, same), *below]


def _about(config: Any, same: list[str]) -> list[str]:
    """What the docstring says, and a table of keys and defaults."""
    plain = to_dict(config)
    keys = [field.name for field in fields(config) if not is_dataclass(getattr(config, field.name))]
    rows = [f"| `{key}` | `{_toml(plain[key])}`{_choices(config, key)} |" for key in keys]
    table = ["\n".join(["| key | default |", "|---|---|", *rows])] if rows else []
    return [_text(type(config)), *table, *same]


def _text(cls: type) -> str:
    """The docstring, each "key: meaning" a line of a list."""
    found = inspect.getdoc(cls) or ""
    head, _, rest = found.partition("\n\n")
    if not rest and re.match(r"[a-z_, ]+: ", head):
        head, rest = "", head
    lines = re.sub(r"\n +", " ", rest).replace("\n\n", "\n").splitlines()
    items = [f"- {line}" if re.match(r"[a-z0-9_, .]+: ", line) else line for line in lines]
    return "\n\n".join(part for part in (" ".join(head.split()), "\n".join(items)) if part)


def _choices(config: Any, key: str) -> str:
    words = [word for word in get_args(get_type_hints(type(config))[key]) if isinstance(word, str)]
    return f" ({', '.join(words)})" if words else ""


def _toml(value: Any) -> str:
    return "unset" if value is None else json.dumps(value, ensure_ascii=False)


def updated(page: str) -> str:
    """The page with the present reference."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n\n{reference()}\n\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(updated(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
