"""Reading KITTI's text files line by line, with path and line in every error."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from shared_models.errors import DatasetError

MAX_TEXT_BYTES = 4 * 2**20  # far above any label, calibration or split file


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number (from 1) and content of each line that is not blank.

    Raises:
        DatasetError: the file is missing, unreadable, too large, or no text.
    """
    try:
        size = path.stat().st_size
        if size > MAX_TEXT_BYTES:
            raise DatasetError(f"{path}: expected a text file of at most {MAX_TEXT_BYTES} bytes, got {size}")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise DatasetError(f"{path}: the file is missing") from error
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line_number = error.object[: error.start].count(b"\n") + 1
        raise DatasetError(
            f"{path}:{line_number}: expected text, got the byte {error.object[error.start]:#04x}"
        ) from error
    lines = ((index, line.strip()) for index, line in enumerate(text.split("\n"), start=1))
    return ((index, line) for index, line in lines if line)


def number(path: Path, line_number: int, field: str, word: str) -> float:
    """The finite number that `word` spells.

    Raises:
        DatasetError: it spells none; the message names path, line and field.
    """
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DatasetError(f"{path}:{line_number}: expected a finite number for {field}, got {word[:40]!r}")
    return value
