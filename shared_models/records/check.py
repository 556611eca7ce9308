"""Small checks of records and configurations; each names the owner, the field, what was expected and what came."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from shared_models.errors import InvalidValueError

# Control characters, path separators, Unicode's line breaks and turns of direction, halves of UTF-16 pairs. A fixed
# list and not str.isprintable, which other languages do not have and which changes with Python's version of Unicode.
_NOT_IN_NAMES = re.compile(r"[\x00-\x1f\x7f-\x9f/\\\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_SHA256_HEX = re.compile(r"[0-9a-f]{64}")
MAX_WIDTH = 4096  # channels of one layer; the widest of the known detectors has 512


class _Shaped(Protocol):
    @property
    def shape(self) -> Any: ...
    @property
    def dtype(self) -> Any: ...


def shape(owner: str, field: str, array: _Shaped, expected: Sequence[int | None]) -> None:
    """`array` has the `expected` shape, None standing for any length."""
    actual = tuple(array.shape)
    fits = len(actual) == len(expected) and all(e is None or a == e for a, e in zip(actual, expected, strict=True))
    if not fits:
        wanted = ", ".join("any" if e is None else str(e) for e in expected)
        raise InvalidValueError(f"{owner}.{field}: expected shape ({wanted}), got {actual}")


def dtype(owner: str, field: str, array: _Shaped, expected: Any) -> None:
    """`array` has the `expected` dtype."""
    if array.dtype != expected:
        raise InvalidValueError(f"{owner}.{field}: expected dtype {expected}, got {array.dtype}")


def sha256_hex(owner: str, field: str, value: str) -> None:
    """`value` is a SHA-256 as 64 lower-case hexadecimal digits."""
    if not _SHA256_HEX.fullmatch(value):
        raise InvalidValueError(f"{owner}.{field}: expected 64 lower-case hexadecimal digits, got {value!r}")


def name(owner: str, field: str, value: str, max_length: int = 200) -> None:
    """`value` is a printable, non-empty name without path separators, as docs/protocol.md defines it."""
    if not 0 < len(value) <= max_length or _NOT_IN_NAMES.search(value):
        raise InvalidValueError(
            f"{owner}.{field}: expected 1 to {max_length} printable characters without '/' or '\\', got {value[:80]!r}"
        )


def number(owner: str, field: str, value: Any, low: float, high: float) -> None:
    """`value`, a number or nested tuples of numbers, is finite and within `low` to `high`."""
    for item in _leaves(value):
        if not (math.isfinite(item) and low <= item <= high):
            raise InvalidValueError(f"{owner}.{field}: expected {low:g} to {high:g}, got {item!r}")


def count(owner: str, field: str, value: Any, high: int, low: int = 1) -> None:
    """`value`, an integer or nested tuples of integers, is within `low` to `high`."""
    for item in _leaves(value):
        if not isinstance(item, int) or not low <= item <= high:
            raise InvalidValueError(f"{owner}.{field}: expected an integer of {low} to {high}, got {item!r}")


def entries(owner: str, high: int, **fields: Sequence[Any]) -> None:
    """All `fields` have the same number of entries, 1 to `high`."""
    lengths = {field: len(items) for field, items in fields.items()}
    if len(set(lengths.values())) != 1 or not all(1 <= length <= high for length in lengths.values()):
        got = ", ".join(str(length) for length in lengths.values())
        expected = f"1 to {high} entries" + (", equally many each" if len(lengths) > 1 else "")
        raise InvalidValueError(f"{owner}.{', '.join(lengths)}: expected {expected}, got {got}")


def distinct_names(owner: str, field: str, values: Sequence[str], high: int) -> None:
    """`values` are 1 to `high` different names, each of at most 64 characters."""
    entries(owner, high, **{field: values})
    for value in values:
        name(owner, field, value, 64)
    if len(set(values)) != len(values):
        raise InvalidValueError(f"{owner}.{field}: expected different names, got {tuple(values)}")


def _leaves(value: Any) -> Iterator[Any]:
    if not isinstance(value, tuple | list):
        yield value
        return
    for item in value:
        yield from _leaves(item)
