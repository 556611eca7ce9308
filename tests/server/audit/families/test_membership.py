"""Membership: whose checkpoints are asked about, and with how many scenes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from server.audit.attacks import build
from server.audit.audit_config import AttackConfig
from shared_models import checkpoints, detectors
from shared_models.detectors.anchor_detector import AnchorDetector
from shared_models.errors import ConfigError


def with_membership(stage, **changes) -> None:
    memberships = (replace(stage.audit.memberships[0], **changes),)
    stage.audit = replace(stage.audit, memberships=memberships)


def test_the_audited_detector_is_asked_unless_another_is_named(run, stage, tiny: AnchorDetector, tmp_path) -> None:
    own = run("confidence", signal="objects")
    assert set(own.groups["m"]["estimates"]) == {"auc", "tpr_at_1%_fpr"}
    assert own.groups["m"]["estimates"]["auc"]["low"] is not None
    assert own.asked_about[0]["counts"] == {"members": 4, "others": 4}
    # float16 and no guard: hardly another number than from the raw points
    raw = own.groups["m"]["ceilings"]["raw points"]["auc"]["mean"]
    assert own.groups["m"]["estimates"]["auc"]["mean"] == pytest.approx(raw, abs=0.1)
    checkpoints.save(tiny, tmp_path / "same", is_trained=False)
    with_membership(stage, checkpoint=str(tmp_path / "same"), reference=str(tmp_path / "same"))
    assert run("confidence", signal="objects").groups["m"]["estimates"] == own.groups["m"]["estimates"]
    calibrated = run("confidence", signal="objects", calibration="reference")
    assert calibrated.groups["m"]["estimates"]["auc"]["mean"] == 0.5  # a detector says nothing beside itself


def test_a_checkpoint_with_another_vehicle_part_is_refused(run, stage, tmp_path) -> None:
    checkpoints.save(detectors.build("second_iou", "tiny", seed=1), tmp_path / "other", is_trained=False)
    for field in ("checkpoint", "reference"):
        with_membership(stage, **{"checkpoint": "", "reference": "", field: str(tmp_path / "other")})
        with pytest.raises(ConfigError, match=f"memberships.m.{field}.*same frozen vehicle part"):
            run("confidence")


def test_too_few_and_shared_scenes_are_refused(run, stage) -> None:
    stage.drawn = {**stage.drawn, "out": stage.drawn["out"][:3]}
    with pytest.raises(ConfigError, match=r"memberships\.m: 3 scenes are too few"):
        run("confidence")
    with_membership(stage, others=stage.audit.memberships[0].members)
    with pytest.raises(ConfigError, match="share 4 frames"):
        run("confidence")


def test_an_attack_sees_the_payloads_in_an_order_that_tells_nothing(stage, monkeypatch) -> None:
    """Callers have members first; an attack that knew so would need nothing else."""
    shown: list[tuple[bytes, ...]] = []
    attack = build("confidence", {"signal": "objects"})
    monkeypatch.setattr(attack, "prepare", lambda view, bench: shown.append(view.payloads))
    payloads = [bytes([number]) for number in range(40)]
    entry = AttackConfig(attack="confidence", threat="all")
    for _ in range(2):
        stage.prepare(attack, entry, payloads)
    assert shown[0] == shown[1]
    assert shown[0] != tuple(payloads)
    assert sorted(shown[0]) == payloads
