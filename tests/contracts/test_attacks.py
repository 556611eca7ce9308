"""What every attack in the table must be, whatever its name."""

from __future__ import annotations

import dataclasses

import pytest

from server.audit import attacks
from server.audit.attack import (
    Attack,
    MembershipAttack,
    ObjectAttack,
    PropertyAttack,
    ReconstructionAttack,
    RetrievalAttack,
    Workbench,
)
from server.audit.families import family_of
from server.audit.threat import Ability, AttackerView, Budget
from shared_models.backbones.cut_geometry import CutGeometry
from shared_models.backbones.voxelizer import VoxelConfig
from shared_models.configuration import from_dict, to_dict
from shared_models.errors import ConfigError, InvalidValueError, UnknownNameError

FAMILIES = {
    ReconstructionAttack: attacks.RECONSTRUCTIONS,
    ObjectAttack: attacks.OBJECTS,
    RetrievalAttack: attacks.RETRIEVALS,
    MembershipAttack: attacks.MEMBERSHIPS,
    PropertyAttack: attacks.PROPERTIES,
}
each_attack = pytest.mark.parametrize("name", sorted(attacks.attacks()))


@each_attack
def test_it_is_called_as_in_the_table_and_declares_what_it_needs(name: str) -> None:
    found = attacks.attack_class(name)
    assert found.name == name
    assert found.needs <= frozenset(Ability)
    assert found.may_use <= frozenset(Ability)
    assert issubclass(found, next(family for family, table in FAMILIES.items() if name in table))


@each_attack
def test_its_configuration_has_defaults_and_survives_a_file(name: str) -> None:
    config_class = attacks.attack_class(name).config_class
    assert dataclasses.is_dataclass(config_class)
    default = config_class()
    assert from_dict(config_class, to_dict(default)) == default
    with pytest.raises(ConfigError, match="no_such_setting"):
        attacks.build(name, {"no_such_setting": 1})


@each_attack
def test_it_is_refused_by_a_view_that_lacks_what_it_needs(name: str) -> None:
    attack: Attack = attacks.build(name)
    if not attack.required():
        pytest.skip("needs nothing beside the payloads")
    view = AttackerView(
        threat="payloads", geometry=CutGeometry.of(VoxelConfig(), "conv_out"), payloads=(), budget=Budget()
    )
    with pytest.raises(InvalidValueError, match="reached for"):
        attack.prepare(view, Workbench())


@each_attack
def test_a_family_runs_it(name: str) -> None:
    attack = attacks.build(name)
    family = family_of(attack)
    assert FAMILIES[family.attack_class] == next(table for table in FAMILIES.values() if name in table)


def test_an_unknown_attack_lists_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="active_cells"):
        attacks.build("magic")
