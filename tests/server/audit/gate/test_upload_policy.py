"""Policy files."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.audit import attacks
from server.audit.gate.upload_policy import Limit, RequiredAttack, UploadPolicy, load_policy
from shared_models import guards
from shared_models.errors import ConfigError, InvalidValueError, UnknownNameError
from tests.gate_report import POLICY, write_policy

REQUIRED, LIMITS = (RequiredAttack(attack="occupancy"),), (Limit(measure="auc", most=0.6),)


def test_a_file_is_read_whole(tmp_path: Path) -> None:
    policy = load_policy(write_policy(tmp_path / "policy.toml"))
    assert policy.required == (RequiredAttack(attack="occupancy", threat="own scans", least_steps=100),)
    assert policy.limits == (Limit(measure="f_score_0.2m", most=0.6),)
    assert (policy.least_scenes, policy.needs_real_scenes, policy.guard_description) == (4, True, "")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("least_scenes = 4", "least_scene = 4", "least_scene: unknown key"),
        ("least_scenes = 4", "least_scenes = 0", "least_scenes"),
        ("most = 0.6", "", "most: missing"),
        ('measure = "f_score_0.2m"', 'measure = "chamfer_m"', "chamfer_m less says more"),
        ('guard = ""', 'guard = "noise,epsilon=-1"', "policy.toml.*epsilon"),
        ('name = "test"', 'name = "test"\nbackbone = "ab"', "64 lower-case"),
        ('name = "test"', 'name = "test"\neffort = "huge"', "effort"),
        ("least_steps = 100", "least_steps = -1", "least_steps"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in POLICY
    with pytest.raises(ConfigError, match=message):
        load_policy(write_policy(tmp_path / "policy.toml", POLICY.replace(old, new, 1)))


def test_no_such_guard(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="magic.*decoys"):
        load_policy(write_policy(tmp_path / "policy.toml", POLICY.replace('guard = ""', 'guard = "magic"')))


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read"):
        load_policy(tmp_path / "none.toml")


@pytest.mark.parametrize("parts", [{"required": REQUIRED}, {"limits": LIMITS}])
def test_a_policy_without_limits_or_attacks_would_allow_everything(parts: dict) -> None:
    with pytest.raises(InvalidValueError, match="allows everything"):
        UploadPolicy(**parts)


def test_the_guard_is_written_out_with_all_its_settings() -> None:
    policy = UploadPolicy(required=REQUIRED, limits=LIMITS, guard="coarse+decoys")
    assert policy.guard_description == "coarse,side=2+decoys,share=0.5"


def test_default_is_the_guard_that_this_version_recommends() -> None:
    policy = UploadPolicy(required=REQUIRED, limits=LIMITS, guard="default")
    assert policy.guard_description == guards.build(guards.DEFAULT_GUARD).described()


@pytest.mark.parametrize("name", ["default", "strict", "trial"])
def test_the_policies_of_the_repository(repository: Path, name: str) -> None:
    policy = load_policy(repository / f"deploy/policies/{name}.toml")
    assert policy.name == name
    assert {required.attack for required in policy.required} <= set(attacks.attacks())


@pytest.mark.parametrize(
    ("attack", "settings", "message"),
    [
        ("occupancy", "{ stepss = 5 }", "stepss"),
        ("occupancy", "{ spread = 0.0 }", "spread"),
        ("a title", "{ spread = 2.0 }", "a title"),
    ],
)
def test_settings_that_no_attack_has_are_refused_at_once(
    tmp_path: Path, attack: str, settings: str, message: str
) -> None:
    text = POLICY.replace('attack = "occupancy"', f'attack = "{attack}"\nsettings = {settings}')
    path = tmp_path / "policy.toml"
    path.write_text(text)
    with pytest.raises((ConfigError, UnknownNameError), match=message):
        load_policy(path)
