"""Reports and attestations from files, and the gate itself: a report held against a policy."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from server.audit.gate.findings import Finding, is_passed, judge
from server.audit.gate.upload_policy import UploadPolicy, load_policy
from server.audit.report_file import as_current
from server.training.atomic_files import write_whole
from shared_models.configuration import from_dict
from shared_models.errors import ConfigError

ATTESTATION_SCHEMA: Final = "upcycle.attestation.v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attestation:
    """Says that a report passed a policy. It proves nothing by itself: who reads it looks at the report again.

    report: path of the report, from the attestation's folder. policy: name of the policy file.
    report_sha256, policy_sha256: of both files' bytes.
    audit_id, effort, detector, backbone_hash, split_layer, codec, guard, guard_hash: as in the report.
    passed_at: ISO 8601, UTC. version: of this project.
    """

    schema: str
    report: str
    report_sha256: str
    policy: str
    policy_sha256: str
    audit_id: str
    effort: str
    detector: str
    backbone_hash: str
    split_layer: str
    codec: str
    guard: str
    guard_hash: str
    passed_at: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A report that was held against a policy. report_sha256, policy_sha256: of the files' bytes."""

    report_path: Path
    report: Mapping[str, Any]
    report_sha256: str
    policy_path: Path
    policy: UploadPolicy
    policy_sha256: str
    findings: tuple[Finding, ...]

    @property
    def is_passed(self) -> bool:
        """Whether nothing is missing and no limit is passed."""
        return is_passed(self.findings)

    def failures(self) -> list[str]:
        """What is missing or too much, a line for each."""
        return [_line(finding) for finding in self.findings if not finding.is_passed]


def hold_against(report_path: Path, policy_path: Path, now: datetime) -> Judged:
    """Hold a report against a policy file. now: aware time, to which the report's age is counted.

    Raises:
        ConfigError: one of the files cannot be used.
        UnknownNameError: there is no such guard as the policy's.
    """
    policy = load_policy(policy_path)
    data = _read(report_path)
    report = as_current(_table(report_path, data), str(report_path))
    try:
        findings = tuple(judge(report, policy, now))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ConfigError(f"{report_path}: no whole report of an audit ({error!r}); audit again") from error
    return Judged(
        report_path=report_path,
        report=report,
        report_sha256=hashlib.sha256(data).hexdigest(),
        policy_path=policy_path,
        policy=policy,
        policy_sha256=hashlib.sha256(_read(policy_path)).hexdigest(),
        findings=findings,
    )


def attest(judged: Judged, path: Path, now: datetime) -> Attestation:
    """Write down in `path` that a report has passed. now: aware time.

    Raises:
        ConfigError: it has not. StorageFullError, StorageError: it cannot be written.
    """
    if not judged.is_passed:
        raise ConfigError(f"{judged.report_path}: it did not pass {judged.policy_path}; nothing to attest")
    scope = judged.report["scope"]
    same = ("detector", "backbone_hash", "split_layer", "codec", "guard", "guard_hash")
    made = Attestation(
        schema=ATTESTATION_SCHEMA,
        report=os.path.relpath(judged.report_path, path.parent),
        report_sha256=judged.report_sha256,
        policy=judged.policy_path.name,
        policy_sha256=judged.policy_sha256,
        audit_id=str(judged.report["audit_id"]),
        effort=str(judged.report["effort"]),
        **{name: str(scope[name]) for name in same},
        passed_at=now.astimezone(UTC).isoformat(timespec="seconds"),
        version=_own_version(),
    )
    write_whole(path, (json.dumps(asdict(made), indent=1) + "\n").encode(), is_durable=True)
    return made


def reopen(path: Path, policy_path: Path, now: datetime) -> Judged:
    """Hold a report, or the one behind an attestation, against a policy again.

    Raises:
        ConfigError: a file cannot be used; report or policy are not those that were attested.
    """
    found = _table(path, _read(path))
    if found.get("schema") != ATTESTATION_SCHEMA:
        return hold_against(path, policy_path, now)
    try:
        attested = from_dict(Attestation, found)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    judged = hold_against(path.parent / attested.report, policy_path, now)
    for what, then, file in (("report", attested.report_sha256, judged.report_path),
                             ("policy", attested.policy_sha256, policy_path)):  # fmt: skip
        if getattr(judged, f"{what}_sha256") != then:
            raise ConfigError(f"{path}: {file} is not the {what} that was attested; run `upcycle audit gate` again")
    return judged


def _table(path: Path, data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError as error:
        raise ConfigError(f"{path}: no JSON ({error}); give the report of `upcycle audit`") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: expected a table, got {type(found).__name__}; give the report of `upcycle audit`")
    return found


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error


def _line(finding: Finding) -> str:
    where = f", {finding.attack}" if finding.attack else ""
    where += f" on {finding.group}" if finding.group else ""
    return f"{finding.what}{where}: {finding.note}"


def _own_version() -> str:
    try:
        return f"upcycle-fleet {metadata.version('upcycle-fleet')}"
    except metadata.PackageNotFoundError:
        return "upcycle-fleet (not installed)"
