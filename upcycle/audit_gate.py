"""`upcycle audit gate`: hold the report of an audit against a policy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from server.audit.gate.evidence import Judged
    from server.audit.gate.findings import Finding

EXIT_NOT_PASSED = 1
FILE_WIDTH = 160
DEFAULT_POLICY = Path("deploy/policies/default.toml")

ReportPath = Annotated[
    Path, typer.Argument(metavar="REPORT", help="Report of `upcycle audit`, or an attestation of it.")
]
PolicyPath = Annotated[Path, typer.Option("--policy", metavar="FILE", help="Policy file (TOML).")]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")]
WritePath = Annotated[
    Path | None,
    typer.Option("--write", metavar="FILE", help="Where a report that passes is attested.", show_default=False),
]


def gate(
    report: ReportPath, policy: PolicyPath = DEFAULT_POLICY, as_json: JsonFlag = False, write: WritePath = None
) -> None:
    """Hold a report against a policy: what was tried, and what came back at most.

    Exit code 0: passed. 1: a limit is passed, or something that the policy asks for is missing. 2: a file cannot be
    used. A report that passes is no promise that features are safe: only the listed attacks were tried.
    """
    import json
    from datetime import UTC, datetime

    from server.audit.gate.evidence import attest, reopen

    now = datetime.now(UTC)
    judged = reopen(report, policy, now)
    if as_json:
        print(json.dumps(_as_table(judged), indent=1))
    else:
        _show(judged)
    if not judged.is_passed:
        raise typer.Exit(EXIT_NOT_PASSED)
    if write is not None:
        attest(judged, write, now)
        if not as_json:
            print(f"attestation: {write}")


def _as_table(judged: Judged) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "is_passed": judged.is_passed,
        "report": str(judged.report_path),
        "report_sha256": judged.report_sha256,
        "policy": str(judged.policy_path),
        "policy_sha256": judged.policy_sha256,
        "scope": dict(judged.report["scope"]),
        "findings": [asdict(finding) for finding in judged.findings],
    }


def _show(judged: Judged) -> None:
    console = Console()
    if not console.is_terminal:
        console = Console(width=FILE_WIDTH)
    scope = judged.report["scope"]
    print(
        f"{scope['detector']} at {scope['split_layer']}, codec {scope['codec']}, guard {scope['guard']}, "
        f"backbone {scope['backbone_hash'][:12]}"
    )
    asked = [finding for finding in judged.findings if finding.most is None]
    for finding in asked:
        console.print(
            f"{_word(finding)}  {escape(finding.what)}{escape(_note(finding))}", highlight=False, soft_wrap=True
        )
    console.print(_limits([finding for finding in judged.findings if finding.most is not None]))
    failed = len(judged.failures())
    print(f"{judged.policy.name}: " + (f"NOT PASSED, {failed} of {len(judged.findings)}" if failed else "passed"))


def _limits(findings: Sequence[Finding]) -> Table:
    table = Table(title="Limits")
    for heading in ("measure", "attack", "group"):
        table.add_column(heading, overflow="fold")
    for heading in ("measured", "interval", "limit"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("passed", no_wrap=True)
    table.add_column("", overflow="fold")
    for each in findings:
        interval = "" if each.low is None or each.high is None else f"{each.low:.3f}–{each.high:.3f}"
        measured = "–" if each.measured is None else f"{each.measured:.3f}"
        words = (each.what, each.attack, each.group, measured, interval, f"{each.most:g}", "", each.note)
        table.add_row(*(escape(word) for word in words[:6]), _word(each), escape(each.note))
    return table


def _word(finding: Finding) -> str:
    return "[green]yes[/]" if finding.is_passed else "[red]NO[/] "


def _note(finding: Finding) -> str:
    return f": {finding.note}" if finding.note else ""
