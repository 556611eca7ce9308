"""An attack cannot reach what its threat does not give."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from typing import Any

import numpy as np
import pytest

from server.audit.scenes import AuditedVehicle, SceneTruth, Victims, make_paired, view_of
from server.audit.threat import Ability, AttackerView, Budget, PairedScene, Threat
from shared_models.errors import InvalidValueError

REACH: dict[Ability, Any] = {
    Ability.WHITE_BOX: lambda view: view.white_box(),
    Ability.QUERY: lambda view: view.ask(np.zeros((0, 4), np.float32)),
    Ability.PAIRED: lambda view: view.own_scenes(),
    Ability.REFERENCE: lambda view: view.other_detector(),
}


def threat(*gives: Ability, budget: Budget | None = None) -> Threat:
    origin = "the same street" if Ability.PAIRED in gives else ""
    return Threat(name="test", gives=gives, origin=origin, budget=budget or Budget())


@pytest.fixture(scope="module")
def paired(vehicle: AuditedVehicle, truths: tuple[SceneTruth, ...]) -> tuple[PairedScene, ...]:
    return tuple(make_paired(vehicle, truths[:3], seed=0))


def view(vehicle: AuditedVehicle, victims: Victims, paired: Any, *gives: Ability, **changes: Any) -> AttackerView:
    return view_of(threat(*gives, **changes), vehicle, victims.payloads, paired, reference=vehicle.detector)


def test_every_ability_is_tested() -> None:
    assert set(REACH) == set(Ability)


@pytest.mark.parametrize("ability", list(Ability))
def test_what_the_threat_gives_is_there_and_everything_else_raises(
    ability: Ability, vehicle: AuditedVehicle, victims: Victims, paired: tuple[PairedScene, ...]
) -> None:
    seen = view(vehicle, victims, paired, ability)
    assert seen.abilities == {ability}
    assert REACH[ability](seen)
    for other in set(Ability) - {ability}:
        with pytest.raises(InvalidValueError, match=f"reached for {other.value}"):
            REACH[other](seen)


def test_an_attack_gets_no_more_than_it_declares(vehicle: AuditedVehicle, victims: Victims, paired: Any) -> None:
    everything = view(vehicle, victims, paired, *Ability)
    needed = everything.restricted_to(frozenset({Ability.QUERY}))
    assert needed.abilities == {Ability.QUERY}
    assert (needed.detector, needed.paired, needed.origin) == (None, None, "")
    assert needed.payloads == victims.payloads


def test_the_truth_is_nowhere_in_a_view(vehicle: AuditedVehicle, victims: Victims) -> None:
    seen = view(vehicle, victims, (), Ability.WHITE_BOX, Ability.QUERY)
    held = [getattr(seen, field.name) for field in fields(seen)]
    assert not any(isinstance(item, SceneTruth | Victims) for item in held)
    assert all(isinstance(payload, bytes) for payload in seen.payloads)
    raw = victims.truths[0].points
    assert raw.tobytes() not in b"".join(seen.payloads)
    closures = [cell.cell_contents for cell in getattr(seen.query, "__closure__", None) or ()]
    assert not any(isinstance(item, SceneTruth | Victims | tuple) for item in closures)
    with pytest.raises(FrozenInstanceError):
        seen.payloads = ()  # type: ignore[misc]


def test_scenes_and_queries_end_with_the_budget(vehicle: AuditedVehicle, victims: Victims, paired: Any) -> None:
    seen = view(vehicle, victims, paired, Ability.QUERY, Ability.PAIRED, budget=Budget(scenes=2, queries=1))
    assert len(seen.own_scenes()) == 2
    seen.ask(np.zeros((0, 4), np.float32))
    with pytest.raises(InvalidValueError, match="asked its 1 queries"):
        seen.ask(np.zeros((0, 4), np.float32))


def test_an_attack_is_refused_under_a_weaker_threat() -> None:
    strong = threat(*Ability)
    strong.require("any", frozenset(Ability))
    with pytest.raises(InvalidValueError, match="'decoder' needs paired, white_box, which threat 'test'"):
        threat(Ability.QUERY).require("decoder", frozenset({Ability.WHITE_BOX, Ability.PAIRED}))


def test_paired_scans_have_a_named_origin() -> None:
    with pytest.raises(InvalidValueError, match="origin"):
        Threat(name="test", gives=(Ability.PAIRED,))
    with pytest.raises(InvalidValueError, match="origin"):
        Threat(name="test", origin="Berlin")
    with pytest.raises(InvalidValueError, match="each ability once"):
        Threat(name="test", gives=(Ability.QUERY, Ability.QUERY))
