"""`upcycle audit gate` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from shared_models.errors import ConfigError
from tests.gate_report import POLICY, write_policy, write_report
from upcycle.audit import app

ANY_AGE = POLICY.replace("max_age_days = 30.0", "max_age_days = 0.0")


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    return write_policy(tmp_path / "policy.toml", ANY_AGE)


def run(*arguments: object):
    return CliRunner().invoke(app, ["gate", *map(str, arguments)])


def test_a_passed_report_is_shown_and_attested(policy: Path, tmp_path: Path) -> None:
    report, attestation = write_report(tmp_path / "r.json"), tmp_path / "a.json"
    result = run(report, "--policy", policy, "--write", attestation)
    assert result.exit_code == 0, result.output
    for words in ("f_score_0.2m", "occupancy", "0.500", "0.400–0.550", "0.6", "decoys,share=0.5", "test: passed"):
        assert words in result.output
    assert "NO " not in result.output
    assert json.loads(attestation.read_text())["guard"] == "decoys,share=0.5"
    assert run(attestation, "--policy", policy).exit_code == 0


def test_a_limit_that_is_passed_ends_with_1_and_writes_nothing(policy: Path, tmp_path: Path) -> None:
    write_policy(policy, ANY_AGE.replace("most = 0.6", "most = 0.5"))
    result = run(write_report(tmp_path / "r.json"), "--policy", policy, "--write", tmp_path / "a.json")
    assert result.exit_code == 1
    assert "its upper bound passes the limit" in result.output
    assert "NOT PASSED, 1 of " in result.output
    assert not (tmp_path / "a.json").exists()


def test_as_json(policy: Path, tmp_path: Path) -> None:
    result = run(write_report(tmp_path / "r.json", attacks=[]), "--policy", policy, "--json")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert found["is_passed"] is False
    assert [each["what"] for each in found["findings"] if not each["is_passed"]] == [
        "attack occupancy tried under 'own scans'",
        "f_score_0.2m (all attacks)",
    ]
    assert found["scope"]["guard"] == "decoys,share=0.5"


def test_what_cannot_be_used(policy: Path, tmp_path: Path) -> None:
    """`upcycle` ends with 2 for a ConfigError."""
    (tmp_path / "r.json").write_text("{")
    for report, file in ((tmp_path / "r.json", policy), (write_report(tmp_path / "ok.json"), tmp_path / "none.toml")):
        result = run(report, "--policy", file)
        assert isinstance(result.exception, ConfigError)
