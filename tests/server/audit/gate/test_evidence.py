"""Reports and attestations from files."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from pathlib import Path

import pytest

from server.audit.gate.evidence import attest, hold_against, reopen
from shared_models.errors import ConfigError
from tests.gate_report import MADE_AT, POLICY, make_report, write_policy, write_report

NOW = MADE_AT + timedelta(days=1)


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    return write_policy(tmp_path / "policy.toml")


@pytest.fixture
def report(tmp_path: Path) -> Path:
    return write_report(tmp_path / "report.json")


def test_an_attestation_names_both_files_and_what_was_audited(report: Path, policy: Path, tmp_path: Path) -> None:
    path = tmp_path / "kept" / "attestation.json"
    attest(hold_against(report, policy, NOW), path, NOW)
    found = json.loads(path.read_text())
    assert found["report"] == "../report.json"
    assert found["report_sha256"] == hashlib.sha256(report.read_bytes()).hexdigest()
    assert found["policy_sha256"] == hashlib.sha256(policy.read_bytes()).hexdigest()
    assert (found["codec"], found["guard"], found["effort"]) == ("float16", "decoys,share=0.5", "quick")
    assert found["passed_at"] == "2026-11-22T12:00:00+00:00"
    judged = reopen(path, policy, NOW)
    assert judged.is_passed
    assert judged.report["audit_id"] == "audit-quick-0"


def test_a_report_is_reopened_as_it_is(report: Path, policy: Path) -> None:
    assert reopen(report, policy, NOW) == hold_against(report, policy, NOW)


def test_what_has_not_passed_is_not_attested(policy: Path, tmp_path: Path) -> None:
    judged = hold_against(write_report(tmp_path / "report.json", attacks=[]), policy, NOW)
    assert not judged.is_passed
    assert judged.failures() == [
        "attack occupancy tried under 'own scans': it was not",
        "f_score_0.2m (all attacks): nothing in the report has it",
    ]
    with pytest.raises(ConfigError, match="nothing to attest"):
        attest(judged, tmp_path / "attestation.json", NOW)
    assert not (tmp_path / "attestation.json").exists()


def test_an_attested_report_is_held_against_the_policy_again(report: Path, policy: Path, tmp_path: Path) -> None:
    """An attestation is believed in nothing: too old since, it does not pass any more."""
    path = tmp_path / "attestation.json"
    attest(hold_against(report, policy, NOW), path, NOW)
    assert not reopen(path, policy, NOW + timedelta(days=40)).is_passed


@pytest.mark.parametrize("what", ["report", "policy"])
def test_another_report_or_policy_than_attested(what: str, report: Path, policy: Path, tmp_path: Path) -> None:
    path = tmp_path / "attestation.json"
    attest(hold_against(report, policy, NOW), path, NOW)
    if what == "report":
        write_report(report, name="another")
    else:
        write_policy(policy, POLICY.replace("0.6", "0.7"))
    with pytest.raises(ConfigError, match=f"is not the {what} that was attested"):
        reopen(path, policy, NOW)


def test_an_attestation_whose_report_is_gone(report: Path, policy: Path, tmp_path: Path) -> None:
    path = tmp_path / "attestation.json"
    attest(hold_against(report, policy, NOW), path, NOW)
    report.unlink()
    with pytest.raises(ConfigError, match=r"report\.json: cannot be read"):
        reopen(path, policy, NOW)


def test_an_attestation_with_unknown_or_missing_keys(policy: Path, tmp_path: Path) -> None:
    path = tmp_path / "attestation.json"
    path.write_text(json.dumps({"schema": "upcycle.attestation.v1", "is_safe": True}))
    with pytest.raises(ConfigError, match="attestation.json: is_safe: unknown key"):
        reopen(path, policy, NOW)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "no JSON"),
        ("[]", "expected a table, got list"),
        ("{}", "expected a report of the form"),
        ('{"schema": "upcycle.audit.v9"}', "got 'upcycle.audit.v9'"),
        ('{"schema": "upcycle.audit.v2", "scope": 5}', "has no audit_id"),
    ],
)
def test_what_is_no_report(text: str, message: str, policy: Path, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        reopen(path, policy, NOW)


@pytest.mark.parametrize("key", ["scope", "effort", "victims", "attacks", "controls"])
def test_half_a_report(key: str, policy: Path, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text(json.dumps({name: value for name, value in make_report().items() if name != key}))
    with pytest.raises(ConfigError, match=f"no (whole report.*)?{key}"):
        hold_against(path, policy, NOW)


def test_no_report(policy: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        hold_against(tmp_path / "none.json", policy, NOW)
