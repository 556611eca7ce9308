"""What audits allow a server to ask for."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from server.audit.gate.allowed import AllowedUploads, allowed_uploads
from shared_models.errors import ConfigError
from tests.gate_report import MADE_AT, write_policy, write_report
from tests.loopback import BACKBONE, OTHER_BACKBONE

NOW = MADE_AT + timedelta(days=1)


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    return write_policy(tmp_path / "policy.toml")


def test_exactly_what_was_audited(policy: Path, tmp_path: Path) -> None:
    assert allowed_uploads(policy, [write_report(tmp_path / "a.json")], NOW) == AllowedUploads(
        backbone_hashes=frozenset({BACKBONE}),
        codecs=frozenset({"float16"}),
        split_layers=frozenset({"conv_out"}),
        guard="decoys,share=0.5",
    )


def test_an_audit_for_each_codec(policy: Path, tmp_path: Path) -> None:
    audits = [write_report(tmp_path / f"{codec}.json", scope={"codec": codec}) for codec in ("float16", "int8")]
    assert allowed_uploads(policy, audits, NOW).codecs == {"float16", "int8"}


def test_a_combination_without_an_audit(policy: Path, tmp_path: Path) -> None:
    audits = [
        write_report(tmp_path / "a.json", scope={"codec": "float16"}),
        write_report(tmp_path / "b.json", scope={"codec": "int8", "backbone_hash": OTHER_BACKBONE}),
    ]
    with pytest.raises(ConfigError, match="no audit of codec int8 at conv_out with backbone abababababab"):
        allowed_uploads(policy, audits, NOW)


def test_audits_under_different_guards(policy: Path, tmp_path: Path) -> None:
    audits = [write_report(tmp_path / f"{guard}.json", guard=guard) for guard in ("decoys", "none")]
    with pytest.raises(ConfigError, match="under one guard, got decoys,share=0.5 and none"):
        allowed_uploads(policy, audits, NOW)


def test_an_audit_that_has_not_passed(policy: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"not passed .*policy\.toml: attack occupancy .*: it was not; f_score_0.2m"):
        allowed_uploads(policy, [write_report(tmp_path / "a.json", attacks=[])], NOW)


def test_no_audit(policy: Path) -> None:
    with pytest.raises(ConfigError, match="give --audit"):
        allowed_uploads(policy, [], NOW)
