"""Finished attacks of an audit on disk, so that an interrupted audit goes on with the next one.

DATA/audits/AUDIT_ID/config.json           complete effective configuration
DATA/audits/AUDIT_ID/KEY.json              numbers of one finished attack
DATA/audits/AUDIT_ID/KEY.npz               some of its reconstructions beside their truth, for pictures
DATA/audits/AUDIT_ID/work/KEY/             what a long preparation goes on from
DATA/audits/AUDIT_ID/work/KEY/scans/       all its reconstructions, where another attack looks at them
"""

from __future__ import annotations

import io
import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.training.atomic_files import write_whole
from shared_models.errors import StorageError


class AuditFolder:
    """The files of one audit. Each is there whole or not at all."""

    def __init__(self, data: Path, audit_id: str) -> None:
        self.path = data / "audits" / audit_id
        self.audit_id = audit_id

    def keep_config(self, config: Mapping[str, Any]) -> None:
        """Write the effective configuration.

        Raises:
            StorageFullError, StorageError: it cannot be written.
        """
        write_whole(self.path / "config.json", (json.dumps(config, indent=1, sort_keys=True) + "\n").encode())

    def work(self, title: str) -> Path:
        """Folder of an attack's own, made where it is missing."""
        folder = self.path / "work" / file_stem(title)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def forget(self, title: str) -> None:
        """Remove all that an attack has left here, the numbers first, because they say that it is finished.

        Raises:
            StorageError: it cannot be removed.
        """
        stem = file_stem(title)
        try:
            for ending in ("json", "npz"):
                (self.path / f"{stem}.{ending}").unlink(missing_ok=True)
            if (self.path / "work" / stem).exists():
                shutil.rmtree(self.path / "work" / stem)
        except OSError as error:
            raise StorageError(f"{self.path}: what {title!r} left cannot be removed: {error.strerror}") from error

    def finished(self, title: str) -> dict[str, Any] | None:
        """The numbers of an attack that finished before, None where it did not.

        Raises:
            StorageError: the file is damaged.
        """
        path = self.path / f"{file_stem(title)}.json"
        if not path.exists():
            return None
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise StorageError(f"{path}: cannot be read ({error}); delete it, and the attack is made anew") from error
        if not isinstance(found, dict):
            raise StorageError(f"{path}: expected a table; delete it, and the attack is made anew")
        return found

    def keep(self, title: str, numbers: Mapping[str, Any], clouds: Mapping[str, NDArray[np.float32]]) -> None:
        """Write the numbers and clouds of a finished attack; the numbers last, because they say that it is finished.

        Raises:
            StorageFullError, StorageError: they cannot be written.
        """
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **dict(clouds))  # type: ignore[arg-type]
        write_whole(self.path / f"{file_stem(title)}.npz", buffer.getvalue())
        write_whole(self.path / f"{file_stem(title)}.json", (json.dumps(numbers, indent=1) + "\n").encode())

    def keep_scan(self, title: str, group: str, number: int, points: NDArray[np.float32]) -> None:
        """Write one reconstruction (N, 3 or 4) of an attack, for attacks that look at it.

        Raises:
            StorageFullError, StorageError: it cannot be written.
        """
        buffer = io.BytesIO()
        np.save(buffer, points)
        write_whole(self._scan_path(title, group, number), buffer.getvalue())

    def scan(self, title: str, group: str, number: int) -> NDArray[np.float32]:
        """What `keep_scan` wrote.

        Raises:
            StorageError: it is missing or damaged.
        """
        path = self._scan_path(title, group, number)
        try:
            found: NDArray[np.float32] = np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)
            if found.ndim != 2 or found.shape[1] not in (3, 4) or not np.isfinite(found).all():
                raise ValueError(f"an array {found.shape}, expected finite (N, 3) or (N, 4)")
        except (OSError, ValueError, EOFError) as error:
            raise StorageError(
                f"{path}: a reconstruction of {title!r} cannot be read ({error}); delete "
                f"{file_stem(title)}.json in {self.path}, and the attack is made anew"
            ) from error
        return found

    def _scan_path(self, title: str, group: str, number: int) -> Path:
        return self.path / "work" / file_stem(title) / "scans" / file_stem(group) / f"{number:06d}.npy"


def file_stem(title: str) -> str:
    """A file name for an attack's title."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", title)[:80]
