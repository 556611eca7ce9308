"""Reports of both forms are read, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from server.audit.report_file import as_current, read_report
from shared_models.errors import ConfigError

OLD = {
    "schema": "upcycle.audit.v1",
    "audit_id": "a",
    "scope": {},
    "victims": [],
    "controls": {},
    "threats": [],
    "attacks": [{"title": "x", "groups": {}}],
}


def test_an_old_report_gets_what_its_form_did_not_say(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text(json.dumps(OLD))
    found = read_report(path)
    assert found["schema"] == "upcycle.audit.v2"
    assert found["attacks"] == [{"title": "x", "groups": {}, "kind": "reconstruction"}]
    assert found["decision_groups"] == []
    assert read_report(path) == as_current(found, "again")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read"),
        ("[]", "expected a report of the form"),
        ('{"schema": "upcycle.audit.v9"}', "upcycle.audit.v9"),
        ('{"schema": "upcycle.audit.v2", "audit_id": "a"}', "no scope"),
    ],
)
def test_other_files_are_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_report(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_report(tmp_path / "none.json")
