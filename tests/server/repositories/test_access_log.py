"""Events and entries: what may stand in them, and what a hash covers."""

from __future__ import annotations

import getpass
from dataclasses import replace
from typing import Any

import pytest

from server.repositories.access_log import Action, Event, Head, canonical, chained, local_actor
from shared_models.errors import InvalidValueError

EVENT = Event(at_ns=1, actor="user/ada", action=Action.READ, subject="ab")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"actor": ""}, "expected who did it"),
        ({"actor": "user/a\nb"}, "expected one line"),  # a line feed would move text from one field to another
        ({"subject": "a\u2028b"}, "expected one line"),
        ({"subject": "a" * 201}, "at most 200"),
        ({"at_ns": -1}, "expected 0 to"),
        ({"at_ns": 2**63}, "expected 0 to"),
    ],
)
def test_an_event_that_cannot_be(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        replace(EVENT, **changed)


@pytest.mark.parametrize(
    "changed",
    [{"sequence": 2}, {"at_ns": 2}, {"actor": "user/eve"}, {"action": "list"}, {"subject": "cd"}, {"detail": '{"a":1}'},
     {"previous_sha256": "1" * 64}],
)  # fmt: skip
def test_every_field_is_in_the_hash(changed: dict[str, Any]) -> None:
    (entry,) = chained(Head(), [EVENT])
    assert entry.sha256 == entry.expected_sha256
    assert replace(entry, **changed).expected_sha256 != entry.sha256


def test_canonical_detail() -> None:
    assert canonical({"b": 1, "a": ["é", "\n"], "c": True}) == '{"a":["\\u00e9","\\n"],"b":1,"c":true}'


@pytest.mark.parametrize("detail", ["", "[]", "{", '{"payload_sha256":5}', '{"payload_sha256":"../x"}'])
def test_damaged_detail_names_no_payload(detail: str) -> None:
    assert replace(chained(Head(), [EVENT])[0], detail=detail).payload_sha256 == ""


def test_whoever_has_no_name_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> str:
        raise KeyError("no such user")

    monkeypatch.setattr(getpass, "getuser", lambda: "ada\x1b")
    assert local_actor("dashboard") == "dashboard/ada?"
    monkeypatch.setattr(getpass, "getuser", fail)
    assert local_actor().removeprefix("user/").isdigit()
