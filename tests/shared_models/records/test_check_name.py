"""Names, as docs/protocol.md defines them for vehicles in any language."""

from __future__ import annotations

import pytest

from shared_models.errors import InvalidValueError
from shared_models.records import check


@pytest.mark.parametrize(
    "value", ["a", "two words", "träger", "車", "\u00a0", "\u2027", "\u2030", "😀" * 200, "\ue000"]
)
def test_names_that_are_taken(value: str) -> None:
    check.name("Record", "field", value)


@pytest.mark.parametrize(
    "code", [0, 9, 10, 0x1F, 0x7F, 0x80, 0x9F, 0x2028, 0x202E, 0x2066, 0x2069, 0xD800, 0xDFFF, 47, 92]
)
def test_characters_that_are_not(code: int) -> None:
    with pytest.raises(InvalidValueError, match=r"Record\.field"):
        check.name("Record", "field", f"a{chr(code)}b")


@pytest.mark.parametrize("value", ["", "a" * 201])
def test_lengths_that_are_not(value: str) -> None:
    with pytest.raises(InvalidValueError, match="1 to 200"):
        check.name("Record", "field", value)
