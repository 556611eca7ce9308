"""As much of JSON Schema as docs/audit-report.schema.json uses; an unknown keyword is an error."""

from __future__ import annotations

import re
from typing import Any

TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "number": (int, float), "integer": int}
KEYWORDS = {"$ref", "const", "enum", "type", "pattern", "minimum", "items", "required", "properties"} | {
    "additionalProperties"
}
WORDS = {"$schema", "$id", "$defs", "title", "description"}


def faults(value: Any, schema: dict[str, Any], root: dict[str, Any], at: str = "report") -> list[str]:
    """What is wrong with `value`, each with its place."""
    assert set(schema) <= KEYWORDS | WORDS, set(schema) - KEYWORDS - WORDS
    if "$ref" in schema:
        return faults(value, root["$defs"][schema["$ref"].rpartition("/")[2]], root, at)
    if "const" in schema and value != schema["const"]:
        return [f"{at}: {value!r} is not {schema['const']!r}"]
    if "enum" in schema and value not in schema["enum"]:
        return [f"{at}: {value!r} is none of {schema['enum']}"]
    if "type" in schema and not _is_of(value, schema["type"]):
        return [f"{at}: {value!r} is no {schema['type']}"]
    found: list[str] = []
    if "pattern" in schema and not re.search(schema["pattern"], value):
        found.append(f"{at}: {value!r} does not match")
    if "minimum" in schema and value < schema["minimum"]:
        found.append(f"{at}: {value!r} is too small")
    if isinstance(value, list):
        found += [f for i, item in enumerate(value) for f in faults(item, schema.get("items", {}), root, f"{at}[{i}]")]
    if isinstance(value, dict):
        found += [f"{at}.{name}: missing" for name in schema.get("required", ()) if name not in value]
        for name, item in value.items():
            inner = schema.get("properties", {}).get(name, schema.get("additionalProperties", {}))
            found += [f"{at}.{name}: unknown"] if inner is False else faults(item, inner, root, f"{at}.{name}")
    return found


def _is_of(value: Any, names: str | list[str]) -> bool:
    words = [names] if isinstance(names, str) else names
    if isinstance(value, bool):
        return "boolean" in words
    return any(value is None if word == "null" else isinstance(value, TYPES[word]) for word in words)
