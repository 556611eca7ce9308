"""What a report has of what a policy asks for; each refusal is a test."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from server.audit.gate.findings import Finding, is_passed, judge
from server.audit.gate.upload_policy import Limit, RequiredAttack, UploadPolicy
from tests.gate_report import MADE_AT, estimate, make_attack, make_report

NOW = MADE_AT + timedelta(days=10)
LIMIT = Limit(measure="f_score_0.2m", most=0.6)


def make_policy(**changed: Any) -> UploadPolicy:
    required = RequiredAttack(attack="occupancy", threat="own scans", least_steps=100)
    given = {"guard": "", "least_scenes": 4, "max_age_days": 30.0, "required": (required,), "limits": (LIMIT,)}
    return UploadPolicy(**{**given, **changed})


def failures(report: dict[str, Any], policy: UploadPolicy | None = None) -> list[Finding]:
    findings = judge(report, policy or make_policy(), NOW)
    failed = [finding for finding in findings if not finding.is_passed]
    assert is_passed(findings) == (not failed)
    return failed


def only(failed: list[Finding]) -> tuple[str, str]:
    (finding,) = failed
    return finding.what, finding.note


def test_a_report_that_passes() -> None:
    assert failures(make_report()) == []
    (limit,) = [finding for finding in judge(make_report(), make_policy(), NOW) if finding.most is not None]
    assert (limit.attack, limit.group, limit.measured, limit.low, limit.high) == ("occupancy", "kitti", 0.5, 0.4, 0.55)


@pytest.mark.parametrize(
    ("high", "bound", "is_within"),
    [(0.6, "high", True), (0.6001, "high", False), (0.9, "mean", True)],
)
def test_the_bound_is_held_against_the_limit(high: float, bound: Any, is_within: bool) -> None:
    report = make_report(attacks=[make_attack(estimates={"f_score_0.2m": estimate(0.6, 0.4, high)})])
    failed = failures(report, make_policy(limits=(Limit(measure="f_score_0.2m", most=0.6, bound=bound),)))
    assert [finding.note for finding in failed] == ([] if is_within else ["its upper bound passes the limit"])


@pytest.mark.parametrize(
    ("used", "wanted", "note"),
    [
        ({}, {}, ""),
        ({"learning_rate": 3e-3, "steps": 7}, {}, ""),  # as shipped; steps are asked for apart
        ({"learning_rate": 1e-8}, {}, "learning_rate was 1e-08, expected 0.003"),
        ({"learning_rate": 1e-8}, {"learning_rate": 1e-8}, ""),
        ({}, {"spread": 2.0}, "spread was 1.5, expected 2.0"),
        ({"decoder": {"width": 1}}, {}, "decoder was"),
        ({"later_setting": 1}, {}, "later_setting"),
    ],
)
def test_an_attack_that_was_made_weaker_does_not_count(used: Any, wanted: Any, note: str) -> None:
    required = RequiredAttack(attack="occupancy", settings=wanted)
    failed = failures(make_report(attacks=[make_attack(settings=used)]), make_policy(required=(required,)))
    assert [each.what for each in failed] == (["attack occupancy tried"] if note else [])
    assert all(note in each.note for each in failed)
    both = [make_attack(settings=used), make_attack("occupancy, as asked", attack="occupancy", settings=wanted)]
    assert failures(make_report(attacks=both), make_policy(required=(required,))) == []


def test_steps_count_where_the_policy_names_them() -> None:
    attack = make_attack(settings={"steps": 1})
    for settings, note in (({}, []), ({"steps": 5000}, ["steps was 1, expected 5000"])):
        required = (RequiredAttack(attack="occupancy", settings=settings),)
        failed = failures(make_report(attacks=[attack]), make_policy(required=required))
        assert [each.note for each in failed] == note


@pytest.mark.parametrize(
    ("titles", "steps", "note"),
    [
        (("occupancy", "detector"), 120, ""),
        (("my occupancy", "detector"), 120, ""),
        (("my occupancy", "occupancy"), 120, ""),  # a title proves nothing
        (("occupancy", "detector"), 99, "with 99 steps, expected 100"),
    ],
)
def test_an_attack_counts_only_with_the_one_that_it_looks_at(titles: tuple[str, str], steps: int, note: str) -> None:
    """A title is free: "occupancy" may be what another, weaker attack is called."""
    cost = {"preparing_s": 1.0, "scenes_s": 1.0, "steps": steps, "is_cut": False}
    real = make_attack(titles[0], attack="occupancy", cost=cost)
    looking = make_attack(titles[1], attack="detector", settings={"on": titles[0]})
    required = (
        RequiredAttack(attack="occupancy", least_steps=100),
        RequiredAttack(attack="detector", settings={"on": "occupancy"}),
    )
    failed = failures(make_report(attacks=[real, looking]), make_policy(required=required))
    assert [each.what for each in failed] == (["attack occupancy tried", "attack detector tried"] if note else [])
    assert all(note in each.note for each in failed)


def test_a_weak_attack_does_not_pass_under_the_title_of_a_strong_one() -> None:
    cells = make_attack("occupancy", attack="active_cells")
    real = make_attack("the real one", attack="occupancy")
    looking = make_attack("detector", settings={"on": "occupancy"})
    required = (RequiredAttack(attack="occupancy"), RequiredAttack(attack="detector", settings={"on": "occupancy"}))
    failed = failures(make_report(attacks=[cells, real, looking]), make_policy(required=required))
    assert only(failed) == (
        "attack detector tried",
        "it looked at what 'occupancy' restored, expected the attack occupancy",
    )
    missing = make_attack("detector", settings={"on": "nothing"})
    (finding,) = failures(make_report(attacks=[real, missing]), make_policy(required=required))
    assert "'nothing' restored" in finding.note


def test_a_mean_over_the_limit() -> None:
    policy = make_policy(limits=(Limit(measure="f_score_0.2m", most=0.49, bound="mean"),))
    assert only(failures(make_report(), policy)) == ("f_score_0.2m", "its mean passes the limit")


def test_every_attack_and_group_is_looked_at_unless_one_is_named() -> None:
    worse = make_attack("decoder", estimates={"f_score_0.2m": estimate(0.9, 0.8, 0.95)})
    report = make_report(attacks=[make_attack(), worse])
    assert [finding.attack for finding in failures(report)] == ["decoder"]
    for named in (
        {"attack": "occupancy"},
        {"threat": "nobody", "is_required": False},
        {"group": "x", "is_required": False},
    ):
        assert failures(report, make_policy(limits=(Limit(measure="f_score_0.2m", most=0.6, **named),))) == []


@pytest.mark.parametrize(("most", "is_within"), [(0.26, True), (0.24, False)])
def test_a_limit_above_a_floor(most: float, is_within: bool) -> None:
    """Upper bound 0.55, floor's mean 0.3."""
    policy = make_policy(limits=(Limit(measure="f_score_0.2m", most=most, above="mean scene"),))
    assert (failures(make_report(), policy) == []) == is_within


def test_floors_of_the_attack_itself_go_before_the_controls() -> None:
    group = {"estimates": {"accuracy": estimate(0.7, 0.6, 0.8)}, "floors": {"chance": {"accuracy": estimate(0.5)}}}
    probe = make_attack("property", kind="property", groups={"sensor": group})
    groups = [{"kind": "property", "name": "sensor", "scenes": 40}]
    report = make_report(attacks=[make_attack(), probe], decision_groups=groups)

    def above(most: float, floor: str = "chance") -> list[Finding]:
        limit = Limit(measure="accuracy", most=most, above=floor, attack="property")
        return failures(report, make_policy(limits=(limit,)))

    assert above(0.31) == []
    assert only(above(0.29)) == ("accuracy above chance", "its upper bound passes the limit")
    assert only(above(0.31, "sky"))[1] == "the report has no floor 'sky' for it"


def test_a_measure_that_nothing_has() -> None:
    limit = Limit(measure="auc", most=0.6)
    assert only(failures(make_report(), make_policy(limits=(LIMIT, limit))))[1] == "nothing in the report has it"
    assert not failures(make_report(), make_policy(limits=(Limit(measure="auc", most=0.6, is_required=False),)))


def test_a_measure_without_a_number_or_an_interval() -> None:
    def failed(found: dict[str, Any], **changed: Any) -> list[Finding]:
        report = make_report(attacks=[make_attack(estimates={"f_score_0.2m": found})])
        return failures(report, make_policy(limits=(Limit(measure="f_score_0.2m", most=0.6, **changed),)))

    assert only(failed(estimate(None)))[1] == "no number"
    assert failed(estimate(None), is_required=False) == []
    assert only(failed(estimate(0.1)))[1] == "no interval: too few scenes"
    assert only(failed(estimate(0.1), is_required=False))[1] == "no interval: too few scenes"
    assert failed(estimate(0.1), bound="mean") == []


def test_scenes_of_a_group_are_those_of_its_kind() -> None:
    """A group of places may be called as one of victims."""
    places = make_attack("polar_map", kind="retrieval", estimates={"recall@1": estimate(0.1, 0.0, 0.2)})
    groups = [
        {"kind": "membership", "name": "kitti", "scenes": 90},
        {"kind": "retrieval", "name": "kitti", "scenes": 3},
    ]
    report = make_report(attacks=[make_attack(), places], decision_groups=groups)
    policy = make_policy(limits=(Limit(measure="recall@1", most=0.15),))
    assert only(failures(report, policy))[1] == "its upper bound passes the limit; 3 scenes, expected 4"


def test_too_few_scenes() -> None:
    assert only(failures(make_report(), make_policy(least_scenes=5)))[1] == "4 scenes, expected 5"


@pytest.mark.parametrize(
    ("changed", "note"),
    [
        ({"attack": "decoder", "title": "decoder"}, "it was not"),
        ({"threat": "payloads"}, "it was not"),
        ({"cost": {"steps": 99, "is_cut": False}}, "with 99 steps, expected 100"),
        ({"cost": {"steps": 120, "is_cut": True}}, "its time ran out: give it more"),
    ],
)
def test_a_required_attack_that_was_not_tried_as_it_should(changed: dict[str, Any], note: str) -> None:
    failed = failures(make_report(attacks=[make_attack(**changed)]))
    assert only(failed) == ("attack occupancy tried under 'own scans'", note)


def test_steps_and_time_are_of_one_and_the_same_attempt() -> None:
    """One attempt was cut, the other had no steps: together they are no attack that was tried."""
    cut = make_attack(cost={"steps": 120, "is_cut": True})
    idle = make_attack(title="occupancy, idle", attack="occupancy", cost={"steps": 0, "is_cut": False})
    assert only(failures(make_report(attacks=[cut, idle])))[1] == "its time ran out: give it more"


def test_a_title_does_not_make_another_attack_of_an_attack() -> None:
    disguised = make_attack(title="occupancy", attack="active_cells")
    assert only(failures(make_report(attacks=[disguised])))[1] == "it was not"


@pytest.mark.parametrize(
    ("given", "note"),
    [
        ({"confidence": 0.5}, "they are of 0.5"),
        ({}, "the report does not say: audit again"),
        (None, "the report does not say: audit again"),
    ],
)
def test_an_upper_bound_is_that_of_a_wide_interval(given: dict[str, float] | None, note: str) -> None:
    report = make_report(intervals=given)
    if given is None:
        del report["intervals"]
    assert only(failures(report)) == ("intervals of 95%", note)
    mean = Limit(measure="f_score_0.2m", most=0.6, bound="mean")
    assert failures(report, make_policy(limits=(mean,))) == []


def test_above_the_ground_is_not_above_the_roofs() -> None:
    policy = make_policy(limits=(Limit(measure="above_ground/f_score_0.2m", most=0.6, is_required=False),))
    assert failures(make_report(), policy) == []
    raised = make_report(measures={"above_m": 2.0})
    assert only(failures(raised, policy)) == ("above ground from -1.3 m", "from 2 m")
    assert failures(raised) == []


def test_an_attacker_with_few_scans_of_his_own() -> None:
    assert failures(make_report(), make_policy(least_own_scenes=20)) == []
    few = failures(make_report(), make_policy(least_own_scenes=21))
    assert only(few) == ("attacker had 21 scans of his own", "he had 20")


def test_an_attack_is_also_found_by_its_title_and_may_be_cut_where_that_is_allowed() -> None:
    titled = make_attack(title="occupancy, long", attack="occupancy", cost={"steps": 120, "is_cut": True})
    policy = make_policy(required=(RequiredAttack(attack="occupancy, long"),), is_cut_allowed=True)
    assert failures(make_report(attacks=[titled]), policy) == []


@pytest.mark.parametrize(
    ("asked", "what"),
    [
        ({"backbone": "cd" * 32}, "backbone_hash"),
        ({"split_layer": "conv_4"}, "split_layer"),
        ({"codec": "int8"}, "codec"),
        ({"guard": "decoys,share=0.75"}, "guard"),
        ({"guard": "none"}, "guard"),
    ],
)
def test_an_audit_of_something_else(asked: dict[str, str], what: str) -> None:
    found, note = only(failures(make_report(), make_policy(**asked)))
    assert found == what
    assert note.startswith("expected ")


def test_the_same_thing_named_in_the_policy_passes() -> None:
    policy = make_policy(backbone="ab" * 32, split_layer="conv_out", codec="float16", guard="decoys,share=0.5")
    assert failures(make_report(), policy) == []


@pytest.mark.parametrize(
    ("scope", "note"),
    [
        ({"guard_hash": "0" * 64}, "is not the hash of decoys"),
        ({"guard": "magic", "guard_hash": None}, "unknown guard 'magic'"),
        ({"guard": "decoys", "guard_hash": None}, "this version's guard is decoys,share=0.5, audited decoys"),
    ],
)
def test_a_guard_that_vehicles_could_not_apply_as_audited(scope: dict[str, Any], note: str) -> None:
    from shared_models.guard import hash_of

    if scope["guard_hash"] is None:
        scope = scope | {"guard_hash": hash_of(scope["guard"])}
    found, said = only(failures(make_report(scope=scope)))
    assert found == "guard_hash"
    assert note in said


def test_a_smaller_audit_than_asked_for() -> None:
    assert only(failures(make_report(), make_policy(effort="full"))) == ("effort full", "it was quick")
    assert failures(make_report(effort="full")) == []


def test_simulated_scenes_alone() -> None:
    simulated = [{"name": "kitti", "is_simulated": True, "scenes": ["a", "b", "c", "d"]}]
    assert only(failures(make_report(victims=simulated)))[0] == "real scans attacked"
    assert failures(make_report(victims=simulated), make_policy(needs_real_scenes=False)) == []


@pytest.mark.parametrize(
    ("made_at", "max_days", "note"),
    [
        (MADE_AT.isoformat(), 9.9, "made 10.0 days ago"),
        ((NOW + timedelta(days=1)).isoformat(), 30.0, "made in the future: check the clocks"),
        ("yesterday", 30.0, "the report does not say when it was made: audit again"),
        (None, 30.0, "the report does not say when it was made: audit again"),
    ],
)
def test_age(made_at: str | None, max_days: float, note: str) -> None:
    failed = failures(make_report(made_at=made_at), make_policy(max_age_days=max_days))
    assert only(failed) == (f"at most {max_days:g} days old", note)
    assert failures(make_report(made_at=made_at), make_policy(max_age_days=0.0)) == []


def test_a_guard_without_effect_is_told_and_does_not_fail() -> None:
    report = make_report(scope={"guard_effect": {"payloads": 4, "changed": 0}})
    told = [finding.note for finding in judge(report, make_policy(), NOW) if finding.what == "guard's effect"]
    assert told == ["the guard changed none of 4 payloads: what was measured is no guard at all"]
    assert failures(report) == []
    assert not any(finding.what == "guard's effect" for finding in judge(make_report(), make_policy(), NOW))


def test_the_limits_of_the_default_policy_name_measures_of_reports(repository: Path) -> None:
    """A slip of the pen in a name would pass where `is_required` is false."""
    from server.audit.gate.upload_policy import load_policy

    known = {"verbatim_share", "above_ground/f_score_0.2m", "class/Pedestrian/f_score_0.2m", "class/Car/f_score_0.2m"}
    known |= {"f_score_0.2m", "auc", "accuracy", "recall@1", "Pedestrian/recall_loose"}
    for path in sorted((repository / "deploy/policies").glob("*.toml")):
        assert {limit.measure for limit in load_policy(path).limits} <= known, path
