"""What the small readers share: finding frames in a folder and refusing unknown ones."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from shared_models.errors import DatasetError, NotFoundError

NAMED = 5  # known frames that an error message lists


def files_by_frame(root: Path, pattern: str, prefix: str, split: str) -> dict[str, Path]:
    """Frame id (file name without `prefix` and ending) to path, in name order, of the files matching `pattern`.

    Raises:
        DatasetError: the folder is missing or holds no such file, or a split other than "all" is asked for.
    """
    if not root.is_dir():
        raise DatasetError(f"{root}: the folder is missing")
    only_all(root, split)
    found = {path.name.removeprefix(prefix).partition(".")[0]: path for path in sorted(root.glob(pattern))}
    if not found:
        raise DatasetError(f"{root}: expected files named {pattern}, found none")
    return found


def only_all(root: Path, split: str) -> None:
    """Raises DatasetError unless `split` is "all"."""
    if split != "all":
        raise DatasetError(f"{root}: this dataset has no split {split!r}; known: all")


def unknown_frame(root: Path, frame_id: str, known: Iterable[str]) -> NotFoundError:
    """The error for a frame that the dataset does not have; it names a few that it has."""
    names = list(known)
    listed = ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
    return NotFoundError(f"{root}: no frame {frame_id!r}; its {len(names)} frames are: {listed}")
