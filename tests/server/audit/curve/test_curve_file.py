from __future__ import annotations

from pathlib import Path

import pytest

from server.audit.curve.curve_file import CURVE_SCHEMA, CurveFolder, read_curve
from shared_models.errors import ConfigError, StorageError


def test_a_finished_cell_counts_while_nothing_has_changed(tmp_path: Path) -> None:
    folder = CurveFolder(tmp_path, "c-1")
    assert folder.finished("noise, 8", "one") is None
    folder.keep("noise, 8", "one", {"ap": 3.5})
    assert folder.finished("noise, 8", "one") == {"ap": 3.5}
    assert folder.finished("noise, 8", "two") is None  # other steps, another checkpoint, ...
    assert folder.finished("noise 8", "one") is None  # a name that looks alike as a file
    folder.keep("noise, 8", "two", {"ap": 4.5})
    assert CurveFolder(tmp_path, "c-1").finished("noise, 8", "two") == {"ap": 4.5}
    assert CurveFolder(tmp_path, "c-2").finished("noise, 8", "two") is None


@pytest.mark.parametrize("text", ["{", "[]", '{"identity": "one"}', "nonsense"])
def test_a_damaged_cell_is_named(tmp_path: Path, text: str) -> None:
    folder = CurveFolder(tmp_path, "c-1")
    folder.keep("none", "one", {})
    (path,) = (folder.path / "cells").iterdir()
    path.write_text(text)
    with pytest.raises(StorageError, match="delete it, and the cell is made anew"):
        folder.finished("none", "one")


def test_a_curve_is_read_back(tmp_path: Path) -> None:
    curve = {"schema": CURVE_SCHEMA, "cells": []}
    path = CurveFolder(tmp_path, "c-1").write(curve, b"png")
    assert read_curve(path) == curve
    assert path.with_suffix(".png").read_bytes() == b"png"


@pytest.mark.parametrize("text", ["{", "[]", '{"schema": "upcycle.audit.v1", "cells": []}', '{"cells": 1}'])
def test_another_file_is_no_curve(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(ConfigError, match="expected"):
        read_curve(tmp_path / "x.json")
    with pytest.raises(ConfigError, match="expected"):
        read_curve(tmp_path / "missing.json")
