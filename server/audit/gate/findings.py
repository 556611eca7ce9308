"""What a report says about a policy: one finding for each thing that the policy asks for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from server.audit.attacks import attacks as known_attacks
from server.audit.attacks import build
from server.audit.gate.upload_policy import ANY, EFFORTS, Limit, RequiredAttack, UploadPolicy
from server.audit.scores import DEFAULT_MEASURES
from shared_models import guards
from shared_models.configuration import to_dict
from shared_models.errors import UpcycleError
from shared_models.guard import hash_of

_ON_VICTIMS = ("reconstruction", "detector")  # kinds of attacks; the others have groups of their own
_DAY_S = 86_400.0
_CONFIDENCE = 0.95  # of intervals whose upper end a limit is held against
_ABOVE = "above_ground/"
_SOURCE = "on"  # the setting of an attack that looks at what another one has restored


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that the policy asks for, and what the report has of it.

    what: in words. is_passed: whether the report has it. note: why not, or what else is to know.
    attack, group: where it was measured; "" for what is no measure.
    measured, low, high: mean and interval, less the floor's mean where the limit is above one; None: no number.
    most: highest value that passes; None for what is no measure.
    """

    what: str
    is_passed: bool
    note: str = ""
    attack: str = ""
    group: str = ""
    measured: float | None = None
    low: float | None = None
    high: float | None = None
    most: float | None = None


def judge(report: Mapping[str, Any], policy: UploadPolicy, now: datetime) -> list[Finding]:
    """Everything that `policy` asks of `report`, in its order: scope, audit, attacks, limits.

    report: as `read_report` gives it. now: aware time, to which the report's age is counted.
    """
    return [
        *_scope(report["scope"], policy),
        *_audit(report, policy, now),
        *(_tried(report, required, policy) for required in policy.required),
        *(finding for limit in policy.limits for finding in _limit(report, limit, policy)),
    ]


def is_passed(findings: Iterable[Finding]) -> bool:
    """Whether a server may go by the report."""
    return all(finding.is_passed for finding in findings)


def _scope(scope: Mapping[str, Any], policy: UploadPolicy) -> Iterator[Finding]:
    guard = policy.guard_description
    wanted = {
        "backbone_hash": policy.backbone,
        "split_layer": policy.split_layer,
        "codec": policy.codec,
        "guard": guard,
    }
    for name, value in wanted.items():
        found = str(scope[name])
        is_same = value in ("", found)
        yield Finding(what=name, is_passed=is_same, note=found if is_same else f"expected {value}, audited {found}")
    yield _known_guard(str(scope["guard"]), str(scope["guard_hash"]))


def _known_guard(guard: str, guard_hash: str) -> Finding:
    """A guard that vehicles of this version apply exactly as it was audited."""
    what = "guard_hash"
    if hash_of(guard) != guard_hash:
        return Finding(what=what, is_passed=False, note=f"{guard_hash[:12]} is not the hash of {guard}")
    try:
        described = guards.build(guard).described()
    except UpcycleError as error:
        return Finding(what=what, is_passed=False, note=str(error))
    note = guard_hash[:12] if described == guard else f"this version's guard is {described}, audited {guard}"
    return Finding(what=what, is_passed=described == guard, note=note)


def _audit(report: Mapping[str, Any], policy: UploadPolicy, now: datetime) -> Iterator[Finding]:
    effort = str(report["effort"])
    is_enough = effort in EFFORTS and EFFORTS.index(effort) >= EFFORTS.index(policy.effort)
    yield Finding(what=f"effort {policy.effort}", is_passed=is_enough, note="" if is_enough else f"it was {effort}")
    if policy.needs_real_scenes:
        has_real = any(not group["is_simulated"] for group in report["victims"])
        yield Finding(what="real scans attacked", is_passed=has_real, note="" if has_real else "simulated ones only")
    if policy.least_own_scenes:
        own = int(report.get("attacker", {}).get("scenes", 0))
        is_enough = own >= policy.least_own_scenes
        what = f"attacker had {policy.least_own_scenes} scans of his own"
        yield Finding(what=what, is_passed=is_enough, note="" if is_enough else f"he had {own}")
    if policy.max_age_days:
        yield _age(report.get("made_at"), policy.max_age_days, now)
    yield from _measuring(report, policy)
    yield from _guard_effect(report["scope"])


def _measuring(report: Mapping[str, Any], policy: UploadPolicy) -> Iterator[Finding]:
    """Numbers mean what their names say: an audit file may ask for narrower intervals, or for less than the ground."""
    if any(limit.bound == "high" for limit in policy.limits):
        confidence = report.get("intervals", {}).get("confidence")
        is_wide = confidence is not None and confidence >= _CONFIDENCE
        note = "" if is_wide else f"they are of {confidence}" if confidence else "the report does not say: audit again"
        yield Finding(what=f"intervals of {_CONFIDENCE:.0%}", is_passed=is_wide, note=note)
    if any(limit.measure.startswith(_ABOVE) for limit in policy.limits):
        above_m = report.get("measures", {}).get("above_m")
        is_low = above_m is not None and above_m <= DEFAULT_MEASURES.above_m
        note = "" if is_low else "the report does not say: audit again" if above_m is None else f"from {above_m:g} m"
        yield Finding(what=f"above ground from {DEFAULT_MEASURES.above_m:g} m", is_passed=is_low, note=note)


def _age(made_at: object, max_days: float, now: datetime) -> Finding:
    what = f"at most {max_days:g} days old"
    try:
        made = datetime.fromisoformat(str(made_at))
        days = (now - made.replace(tzinfo=made.tzinfo or UTC)).total_seconds() / _DAY_S
    except ValueError:
        return Finding(what=what, is_passed=False, note="the report does not say when it was made: audit again")
    note = f"made {days:.1f} days ago" if days >= 0 else "made in the future: check the clocks"
    return Finding(what=what, is_passed=0 <= days <= max_days, note=note)


def _guard_effect(scope: Mapping[str, Any]) -> Iterator[Finding]:
    effect = scope.get("guard_effect")
    if effect is not None and scope["guard"] != "none" and not effect["changed"]:
        note = f"the guard changed none of {effect['payloads']} payloads: what was measured is no guard at all"
        yield Finding(what="guard's effect", is_passed=True, note=note)


def _tried(report: Mapping[str, Any], required: RequiredAttack, policy: UploadPolicy) -> Finding:
    under = "" if required.threat == ANY else f" under {required.threat!r}"
    what = f"attack {required.attack} tried{under}"
    found = [each for each in report["attacks"] if _is_asked_for(each, required)]
    if not found:
        return Finding(what=what, is_passed=False, note="it was not")
    faults = [_weakness(each, required, policy) or _weak_source(each, required, policy, report) for each in found]
    note = "" if "" in faults else faults[0]
    return Finding(what=what, is_passed=not note, note=note, attack=required.attack)


def _weakness(attack: Mapping[str, Any], required: RequiredAttack, policy: UploadPolicy) -> str:
    """In what an attack falls short of what is required; "" in nothing."""
    try:
        wanted, used = (
            to_dict(build(attack["attack"], given).config) for given in (required.settings, attack["settings"])
        )
    except UpcycleError as error:
        return str(error)
    apart = {_SOURCE} | ({"steps"} - required.settings.keys())  # steps have a least number
    differing = sorted(key for key in wanted.keys() - apart if used[key] != wanted[key])
    if differing:
        return "; ".join(f"{key} was {used[key]}, expected {wanted[key]}" for key in differing)
    if attack["cost"]["steps"] < required.least_steps:
        return f"with {attack['cost']['steps']} steps, expected {required.least_steps}"
    if not policy.is_cut_allowed and attack["cost"]["is_cut"]:
        return "its time ran out: give it more"
    return ""


def _weak_source(
    attack: Mapping[str, Any], required: RequiredAttack, policy: UploadPolicy, report: Mapping[str, Any]
) -> str:
    """What is wrong with the attack at whose scans this one looked; "" is nothing, or that it looks at none."""
    if _SOURCE not in attack["settings"]:
        return ""
    title, name = attack["settings"][_SOURCE], required.settings.get(_SOURCE, "")
    source = next((each for each in report["attacks"] if each["title"] == title), None)
    if source is None or (name and source["attack"] != name):
        return f"it looked at what {title!r} restored, expected the attack {name or 'of that title'}"
    asked = [each for each in policy.required if each.attack == source["attack"]]
    faults = [_weakness(source, each, policy) for each in asked or [RequiredAttack(attack=source["attack"])]]
    return "" if "" in faults else f"it looked at what {title!r} restored: {faults[0]}"


def _is_asked_for(attack: Mapping[str, Any], required: RequiredAttack) -> bool:
    """An attack's own name asks for that attack: a title is free, and another attack may have taken it."""
    if required.attack in known_attacks() and attack["attack"] != required.attack:
        return False
    return _is_meant(attack, required.attack, required.threat)


def _is_meant(attack: Mapping[str, Any], name: str, threat: str) -> bool:
    return name in (ANY, attack["attack"], attack["title"]) and threat in (ANY, attack["threat"])


def _limit(report: Mapping[str, Any], limit: Limit, policy: UploadPolicy) -> list[Finding]:
    found = [
        _measured(report, limit, policy, attack, group)
        for attack in report["attacks"]
        if _is_meant(attack, limit.attack, limit.threat)
        for group, numbers in attack["groups"].items()
        if limit.group in (ANY, group) and limit.measure in numbers["estimates"]
    ]
    if found or not limit.is_required:
        return found
    return [Finding(what=limit.described(), is_passed=False, note="nothing in the report has it", most=limit.most)]


def _measured(
    report: Mapping[str, Any], limit: Limit, policy: UploadPolicy, attack: Mapping[str, Any], group: str
) -> Finding:
    numbers = attack["groups"][group]
    estimate = numbers["estimates"][limit.measure]
    floor = _floor(report, limit, attack, group) if limit.above else 0.0
    shown: dict[str, Any] = {
        "what": limit.measure + (f" above {limit.above}" if limit.above else ""),
        "attack": attack["title"],
        "group": group,
        "most": limit.most,
    }
    if floor is None:
        return Finding(is_passed=False, note=f"the report has no floor {limit.above!r} for it", **shown)
    shown |= {
        key: _less(estimate[name], floor) for key, name in (("measured", "mean"), ("low", "low"), ("high", "high"))
    }
    if shown["measured"] is None:
        return Finding(is_passed=not limit.is_required, note="no number", **shown)
    faults = [_fault(limit, shown["measured"] if limit.bound == "mean" else shown["high"])]
    scenes = _scenes_of(report, attack, group)
    if scenes < policy.least_scenes:
        faults.append(f"{scenes} scenes, expected {policy.least_scenes}")
    note = "; ".join(filter(None, faults))
    return Finding(is_passed=not note, note=note, **shown)


def _fault(limit: Limit, value: float | None) -> str:
    if value is None:
        return "no interval: too few scenes"
    bound = "mean" if limit.bound == "mean" else "upper bound"
    return "" if value <= limit.most else f"its {bound} passes the limit"


def _less(value: float | None, floor: float) -> float | None:
    return None if value is None else value - floor


def _floor(report: Mapping[str, Any], limit: Limit, attack: Mapping[str, Any], group: str) -> float | None:
    """The mean of the floor that a limit is above: of the attack's own ones, else of the report's controls."""
    own = attack["groups"][group].get("floors", {}).get(limit.above)
    if own is None:
        control = report["controls"].get(f"floor: {limit.above}", {}).get(group)
        own = None if control is None else control["estimates"]
    estimate = None if own is None else own.get(limit.measure)
    return None if estimate is None else estimate["mean"]


def _scenes_of(report: Mapping[str, Any], attack: Mapping[str, Any], group: str) -> int:
    """How many scenes a group has; 0 where the report does not know it."""
    if attack["kind"] in _ON_VICTIMS:
        return next((len(each["scenes"]) for each in report["victims"] if each["name"] == group), 0)
    wanted = (attack["kind"], group)
    found = (each for each in report["decision_groups"] if (each["kind"], each["name"]) == wanted)
    return int(next((each["scenes"] for each in found), 0))
