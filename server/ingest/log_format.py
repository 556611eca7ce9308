"""Log records as JSON, one object on a line, for programs that collect logs."""

from __future__ import annotations

import json
import logging
import math
import time

from shared_models.errors import ConfigError

_OWN = frozenset({*vars(logging.makeLogRecord({})), "message", "asctime"})
_LONGEST = 2000


class JsonFormatter(logging.Formatter):
    """`time` (UTC), `level`, `logger`, `message`, each extra field under its own name, and `traceback` if any."""

    def format(self, record: logging.LogRecord) -> str:
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, object] = {
            "time": f"{seconds}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {key: _plain(value) for key, value in vars(record).items() if key not in _OWN and key not in line}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=True)


def use_log_format(name: str) -> None:
    """From now on every log line of this process is `json`, or stays `text`.

    Raises:
        ConfigError: another name.
    """
    if name not in ("text", "json"):
        raise ConfigError(f"--log-format: expected text or json, got {name!r}")
    for handler in logging.getLogger().handlers if name == "json" else ():
        handler.setFormatter(JsonFormatter())


def _plain(value: object) -> object:
    """Numbers, booleans and None as they are, of bytes only the length, anything else as text."""
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)  # JSON has no NaN
    if isinstance(value, bool | int) or value is None:
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    return str(value)[:_LONGEST]
