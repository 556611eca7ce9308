"""Reading reports of `upcycle audit` back, those of earlier forms too."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from server.audit.report import REPORT_SCHEMA
from shared_models.errors import ConfigError

FIRST_FORM: Final = "upcycle.audit.v1"
NEEDED: Final = ("audit_id", "scope", "victims", "attacks", "controls", "threats")


def read_report(path: Path) -> dict[str, Any]:
    """The report in a file, in the form that docs/audit-report.schema.json describes.

    One of the first form is brought to it: its attacks all gave back a scan. What was not kept then, when it was made
    and what its guard changed, stays missing.

    Raises:
        ConfigError: the file cannot be read, or is no such report.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read as a report of `upcycle audit` ({error})") from error
    return as_current(content, str(path))


def as_current(content: Any, source: str) -> dict[str, Any]:
    """A report of any known form in the current one. source: its name for messages.

    Raises:
        ConfigError: it is of an unknown form, or incomplete.
    """
    form = content.get("schema") if isinstance(content, Mapping) else None
    if form not in (REPORT_SCHEMA, FIRST_FORM):
        raise ConfigError(f"{source}: expected a report of the form {REPORT_SCHEMA} or {FIRST_FORM}, got {form!r}")
    missing = [name for name in NEEDED if name not in content]
    if missing:
        raise ConfigError(f"{source}: the report has no {missing[0]}; make it again with `upcycle audit`")
    if form == REPORT_SCHEMA:
        return dict(content)
    attacks = [{**each, "kind": "reconstruction"} for each in content["attacks"]]
    return {**content, "schema": REPORT_SCHEMA, "attacks": attacks, "decision_groups": []}
