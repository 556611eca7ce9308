"""How log records look on the terminal: one line, with the fields that came as `extra` behind the message."""

from __future__ import annotations

import logging

LINE = "%(asctime)s %(levelname)s %(name)s %(message)s"
_OWN = frozenset({*vars(logging.makeLogRecord({})), "message", "asctime"})
_LONGEST = 200


class FieldFormatter(logging.Formatter):
    """The line, then each extra field as key=value; a traceback follows below."""

    def __init__(self) -> None:
        super().__init__(LINE)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """As logging calls it, before it adds a traceback."""
        fields = [f"{key}={_plain(value)}" for key, value in vars(record).items() if key not in _OWN]
        return " ".join([super().formatMessage(record), *fields])


def _plain(value: object) -> str:
    """The value as one short word, quoted where it has blanks or control characters; of bytes only the length."""
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    text = str(value)
    text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
    return text if text and text.isprintable() and not set(text) & set(' "=') else repr(text)
