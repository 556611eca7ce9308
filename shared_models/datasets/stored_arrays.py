"""Arrays and JSON of dataset files, checked before anything is read out of them."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared_models.errors import DatasetError

MAX_FILE_BYTES = 256 * 2**20  # several times a packed scan of 200,000 points
Arrays = dict[str, NDArray[Any]]


def read_arrays(path: Path, ranks: Mapping[str, tuple[int | None, ...]]) -> Arrays:
    """The arrays of an .npz file named by `ranks`, each of the given shape (None: any length).

    Raises:
        DatasetError: the file is missing, no .npz, lacks an array, or one has another shape or values that are not
            finite; the message names path and array.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise DatasetError(f"{path}: expected at most {MAX_FILE_BYTES} bytes, got {path.stat().st_size}")
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            missing = [name for name in ranks if name not in stored.files]
            if missing:
                raise DatasetError(f"{path}: expected the arrays {', '.join(ranks)}; missing {', '.join(missing)}")
            arrays = {name: stored[name] for name in ranks}
    except FileNotFoundError as error:
        raise DatasetError(f"{path}: the file is missing") from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DatasetError(f"{path}: expected an .npz file of plain arrays: {error}") from error
    for name, array in arrays.items():
        _check(path, name, array, ranks[name])
    return arrays


def _check(path: Path, name: str, array: NDArray[Any], expected: tuple[int | None, ...]) -> None:
    fits = array.ndim == len(expected) and all(e in (None, a) for e, a in zip(expected, array.shape, strict=True))
    if not fits:
        wanted = ", ".join("any" if e is None else str(e) for e in expected)
        raise DatasetError(f"{path}: expected {name} of shape ({wanted}), got {array.shape}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise DatasetError(f"{path}: expected finite numbers in {name}")


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        DatasetError: the file is missing or no JSON; the message names path and line.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DatasetError(f"{path}: the file is missing") from error
    except json.JSONDecodeError as error:
        raise DatasetError(f"{path}:{error.lineno}: expected JSON: {error.msg}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: cannot be read: {error}") from error


def matrix(path: Path, name: str, values: Any, shape: tuple[int, int]) -> NDArray[np.float64]:
    """`values` of a JSON file as a float64 matrix of `shape`.

    Raises:
        DatasetError: they are none.
    """
    try:
        result = np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DatasetError(f"{path}: expected numbers for {name}, got {str(values)[:60]!r}") from error
    if result.shape != shape or not np.isfinite(result).all():
        raise DatasetError(f"{path}: expected {name} of shape {shape} with finite numbers, got {result.shape}")
    return result
