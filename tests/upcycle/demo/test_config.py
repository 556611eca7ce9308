from __future__ import annotations

import pytest

from shared_models.datasets import open_dataset
from shared_models.errors import InvalidValueError
from upcycle.demo.config import DemoConfig


def test_everyone_drives_through_streets_of_their_own() -> None:
    config = DemoConfig(vehicles=3, drives=1, frames_per_drive=2)
    places = [*config.worlds, config.held_out, config.attackers]
    assert len(set(places)) == 5
    assert all(place.startswith("simulated,domain=germany,sensor=kitti,") for place in places)
    assert len(open_dataset(config.worlds[2], None, "all").frame_ids) == 2


@pytest.mark.parametrize("changed", [{"held_out_seed": 101}, {"attacker_seed": 7}, {"fleet_seed": 8}])
def test_shared_streets_are_refused(changed: dict[str, int]) -> None:
    with pytest.raises(InvalidValueError, match="seeds of their own"):
        DemoConfig(**changed)


def test_nothing_but_simulated_scans() -> None:
    with pytest.raises(InvalidValueError, match="simulated drives"):
        DemoConfig(target="kitti")


def test_scans_are_sent_exactly_and_as_they_are_learned_from() -> None:
    assert DemoConfig(codec="int8").codecs == ("float32", "int8")
    assert DemoConfig(codec="float32").codecs == ("float32",)
