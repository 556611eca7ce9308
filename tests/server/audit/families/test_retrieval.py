"""Places over drives that pass the same streets."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared_models.errors import ConfigError


def test_streets_are_told_again_from_payloads(run) -> None:
    outcome = run("polar_map")
    numbers = outcome.groups["p"]
    chance = numbers["floors"]["chance"]["recall@1"]["mean"]
    assert chance == pytest.approx(1 / 7)
    assert numbers["estimates"]["recall@1"]["mean"] > 3 * chance
    assert numbers["ceilings"]["raw points"]["recall@1"]["mean"] > 3 * chance
    assert numbers["estimates"]["recall@1"]["low"] is not None
    assert outcome.asked_about[0]["counts"] == {"queries": 8, "drives": 8, "scenes": 8}


def test_an_effort_takes_the_first_scenes(run, stage) -> None:
    stage.effort = replace(stage.effort, places=4)
    assert run("polar_map").asked_about[0]["scenes"] == 4


def test_scenes_without_places_are_refused(run, stage) -> None:
    stage.drawn = {"places": [replace(t, position_m=None) for t in stage.drawn["places"]]}
    with pytest.raises(ConfigError, match="8 scenes do not say where"):
        run("polar_map")
    stage.drawn = {"places": [replace(t, position_m=(0, 0, 0), properties={}) for t in stage.drawn["places"][:2]]}
    stage._asked.clear()
    with pytest.raises(ConfigError, match="0 scenes have one of the same place"):
        run("polar_map")
