"""A curve's files: finished cells, so that an interrupted curve goes on with the next one, and the curve itself.

DATA/audits/curves/CURVE_ID/cells/NAME.json      one finished cell, control or the starting checkpoint
DATA/audits/curves/CURVE_ID/curve.json, .png     all of them together (docs/audit-curve.schema.json)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from server.training.atomic_files import write_whole
from shared_models.errors import ConfigError, StorageError

CURVE_SCHEMA: Final = "upcycle.audit-curve.v1"
START: Final = "start"


class CurveFolder:
    """The files of one curve. Each is there whole or not at all."""

    def __init__(self, data: Path, curve_id: str) -> None:
        """data: the server's data folder."""
        self.path = data / "audits" / "curves" / curve_id

    def finished(self, name: str, identity: str) -> dict[str, Any] | None:
        """The numbers of a part that finished before; None where it did not, or under another `identity`.

        Raises:
            StorageError: the file is damaged.
        """
        path = self._cell(name)
        if not path.exists():
            return None
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            numbers = found["numbers"] if found["identity"] == identity else None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StorageError(f"{path}: cannot be read ({error}); delete it, and the cell is made anew") from error
        return dict(numbers) if numbers is not None else None

    def keep(self, name: str, identity: str, numbers: Mapping[str, Any]) -> None:
        """Write a finished part.

        Raises:
            StorageFullError, StorageError: it cannot be written.
        """
        table = {"name": name, "identity": identity, "numbers": dict(numbers)}
        write_whole(self._cell(name), (json.dumps(table, indent=1) + "\n").encode())

    def write(self, curve: Mapping[str, Any], picture: bytes) -> Path:
        """The whole curve beside its picture; gives the path of the former. Raises as `keep`."""
        path = self.path / "curve.json"
        write_whole(path, (json.dumps(curve, indent=1) + "\n").encode())
        write_whole(self.path / "curve.png", picture)
        return path

    def _cell(self, name: str) -> Path:
        # Names that differ must not meet in one file, whatever their letters.
        return self.path / "cells" / f"{name.encode().hex()[:200]}.json"


def read_curve(path: Path) -> dict[str, Any]:
    """A curve that `CurveFolder.write` wrote.

    Raises:
        ConfigError: it cannot be read, or is of another form.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: expected the curve.json of `upcycle audit curve` ({error})") from error
    schema = found.get("schema") if isinstance(found, dict) else None
    if schema != CURVE_SCHEMA or not isinstance(found.get("cells"), list):
        raise ConfigError(f"{path}: expected a curve of form {CURVE_SCHEMA}, got {schema!r}")
    return dict(found)
