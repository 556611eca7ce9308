"""Small checks that records use on construction; each names the record, the field, what was expected and what came."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from shared_models.errors import InvalidValueError


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
    if len(value) != 64 or any(c not in "0123456789abcdef" for c in value):
        raise InvalidValueError(f"{owner}.{field}: expected 64 lower-case hexadecimal digits, got {value!r}")


def name(owner: str, field: str, value: str, max_length: int = 200) -> None:
    """`value` is a printable, non-empty name without path separators."""
    if not 0 < len(value) <= max_length or not value.isprintable() or any(c in value for c in "/\\"):
        raise InvalidValueError(
            f"{owner}.{field}: expected 1 to {max_length} printable characters without '/' or '\\', got {value[:80]!r}"
        )
