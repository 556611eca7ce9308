"""What a server asks vehicles for, by its command line and by audits."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from protos.policy import Policy
from server.asked_uploads import AskedUploads, announce
from shared_models.codecs import CODECS
from shared_models.errors import ConfigError
from tests.gate_report import write_policy, write_report
from tests.loopback import BACKBONE, OTHER_BACKBONE

NAMED = AskedUploads(backbone_hashes=frozenset({BACKBONE}))


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    return write_policy(tmp_path / "policy.toml")


@pytest.fixture
def audit(tmp_path: Path) -> Path:
    return write_report(tmp_path / "report.json", made_at=datetime.now(UTC).isoformat())


def test_without_an_audit_any_guard_is_taken() -> None:
    assert NAMED.policy(None, ()) == Policy(backbone_hashes=frozenset({BACKBONE}), codecs=frozenset(CODECS))
    assert AskedUploads(is_any_backbone=True).policy(None, ()).backbone_hashes is None


@pytest.mark.parametrize(
    "asked", [AskedUploads(), AskedUploads(backbone_hashes=NAMED.backbone_hashes, is_any_backbone=True)]
)
def test_some_backbone_must_be_named(asked: AskedUploads) -> None:
    with pytest.raises(ConfigError, match="give --upload-policy and --audit; without an audit --backbone-hash"):
        asked.policy(None, ())


def test_with_an_audit_exactly_that_is_asked_for(policy: Path, audit: Path) -> None:
    asked = AskedUploads().policy(policy, [audit])
    assert (asked.backbone_hashes, asked.codecs) == (frozenset({BACKBONE}), frozenset({"float16"}))
    assert (asked.split_layers, asked.guard) == (frozenset({"conv_out"}), "decoys,share=0.5")


def test_an_audit_without_a_guard_allows_unguarded_features_only(policy: Path, tmp_path: Path) -> None:
    audit = write_report(tmp_path / "none.json", guard="none", made_at=datetime.now(UTC).isoformat())
    assert AskedUploads().policy(policy, [audit]).guard == "none"


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"is_any_backbone": True}, "an audit is of one backbone"),
        ({"backbone_hashes": frozenset({OTHER_BACKBONE})}, "no audit that was named is of it, only of abab"),
        ({"codecs": frozenset({"float16", "int8"})}, "codec int8: no audit"),
        ({"split_layers": frozenset({"conv_4"})}, "split layer conv_4: no audit"),
    ],
)
def test_more_than_was_audited_is_refused(asked: dict[str, Any], message: str, policy: Path, audit: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        AskedUploads(**asked).policy(policy, [audit])


def test_the_same_as_was_audited_may_be_named(policy: Path, audit: Path) -> None:
    asked = AskedUploads(backbone_hashes=frozenset({BACKBONE}), codecs=frozenset({"float16"}))
    assert asked.policy(policy, [audit]) == AskedUploads().policy(policy, [audit])


def test_a_policy_without_an_audit_and_an_audit_without_a_policy(policy: Path, audit: Path) -> None:
    with pytest.raises(ConfigError, match="give --audit"):
        NAMED.policy(policy, ())
    with pytest.raises(ConfigError, match="give --upload-policy too"):
        NAMED.policy(None, [audit])


def test_an_audit_that_is_too_old(policy: Path, tmp_path: Path) -> None:
    audit = write_report(tmp_path / "old.json", made_at="2020-01-01T00:00:00+00:00")
    with pytest.raises(ConfigError, match="has not passed .*at most 30 days old"):
        AskedUploads().policy(policy, [audit])


def test_the_log_says_whether_an_audit_stands_behind_it(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        announce(NAMED.policy(None, ()))
        announce(Policy(backbone_hashes=None, codecs=frozenset({"int8"}), guard="none"))
    first, second = caplog.records
    assert (first.levelno, second.levelno) == (logging.WARNING, logging.INFO)
    assert "NO AUDIT" in first.getMessage()
    assert "was audited" in second.getMessage()
