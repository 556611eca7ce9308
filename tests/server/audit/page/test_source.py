"""Reading an audit's folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from server.audit.page.source import read_audited
from shared_models.errors import ConfigError, StorageError


def test_report_configuration_and_scans_are_read(audit_folder: Callable[..., Path]) -> None:
    audited = read_audited(audit_folder())
    assert audited.config == {"seed": 77}
    assert audited.layer == "conv_out"
    (scenes,) = audited.scenes.values()
    assert [(s.group, s.word, s.scene_id, s.truth.shape) for s in scenes] == [
        ("simulated", "most", "a|b", (30, 4)),
        ("simulated", "least", "a|b", (30, 4)),
    ]
    assert read_audited(audit_folder("other"), with_scenes=False).scenes == {}


def test_what_is_missing_or_damaged_is_said(audit_folder: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="report.json: cannot be read"):
        read_audited(tmp_path)
    folder = audit_folder()
    (scans,) = folder.glob("*.npz")
    scans.write_bytes(b"PK not a zip")
    with pytest.raises(StorageError, match="leave pictures out"):
        read_audited(folder)
    table = json.loads((folder / "report.json").read_text())
    del table["threats"]
    (folder / "report.json").write_text(json.dumps(table))
    with pytest.raises(ConfigError, match="no threats"):
        read_audited(folder)
    whole = audit_folder("whole")
    for text, words in (("[1]", "expected a table"), ("{", "config.json: cannot be read")):
        (whole / "config.json").write_text(text)
        with pytest.raises(ConfigError, match=words):
            read_audited(whole)
