"""Log lines as JSON."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator

import pytest

from server.ingest.log_format import JsonFormatter, use_log_format
from shared_models.errors import ConfigError


def record(**extra: object) -> logging.LogRecord:
    made = logging.LogRecord("server.x", logging.WARNING, "x.py", 1, 'scene "%s"\nrefused', ("a",), None)
    made.created, made.msecs = 1_700_000_000.25, 250.0
    vars(made).update(extra)
    return made


def test_one_object_on_one_line() -> None:
    line = JsonFormatter().format(record(scene="0123", bytes=5, ok=True, rate=float("nan"), raw=b"secret", none=None))
    assert "\n" not in line
    assert json.loads(line) == {
        "time": "2023-11-14T22:13:20.250Z",
        "level": "WARNING",
        "logger": "server.x",
        "message": 'scene "a"\nrefused',
        "scene": "0123",
        "bytes": 5,
        "ok": True,
        "rate": "nan",
        "raw": "<6 bytes>",
        "none": None,
    }


def test_traceback_is_a_field_and_fields_cannot_take_the_places_of_the_first_four() -> None:
    made = record(time="then", level="none")
    try:
        raise ValueError("wrong")
    except ValueError:
        made.exc_info = sys.exc_info()
    line = json.loads(JsonFormatter().format(made))
    assert line["traceback"].endswith("ValueError: wrong")
    assert (line["time"][:4], line["level"]) == ("2023", "WARNING")


@pytest.fixture
def handler() -> Iterator[logging.Handler]:
    handler = logging.StreamHandler()
    logging.getLogger().addHandler(handler)
    yield handler
    logging.getLogger().removeHandler(handler)


def test_choosing(handler: logging.Handler, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler])
    use_log_format("text")
    assert not isinstance(handler.formatter, JsonFormatter)
    use_log_format("json")
    assert isinstance(handler.formatter, JsonFormatter)
    with pytest.raises(ConfigError, match="expected text or json"):
        use_log_format("xml")
