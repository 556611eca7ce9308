"""Properties, learned from scenes of the attacker's own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared_models.errors import ConfigError, InvalidValueError


def test_the_weather_is_told(run) -> None:
    outcome = run("linear_probe")
    numbers = outcome.groups["weather"]
    assert numbers["floors"]["chance"]["accuracy"]["mean"] == 0.5
    assert numbers["estimates"]["accuracy"]["mean"] >= 7 / 8
    assert numbers["ceilings"]["raw points"]["accuracy"]["mean"] > 0.5
    assert {"recall/dry", "recall/wet"} < set(numbers["estimates"])
    assert outcome.asked_about[0]["counts"] == {"dry": 4, "wet": 4, "attacker's own": 8}


def test_too_few_and_shared_scenes_are_refused(run, stage) -> None:
    whole = stage.drawn
    stage.drawn = {**whole, "wet": whole["wet"][:3]}
    with pytest.raises(ConfigError, match=r"properties\.weather\.wet: 3 scenes are too few"):
        run("linear_probe")
    stage._asked.clear()
    stage.drawn = {**whole, "own wet": whole["own wet"][:1]}
    with pytest.raises(InvalidValueError, match="at least two values with 2 scenes"):
        run("linear_probe")
    group = stage.audit.properties[0]
    values = (replace(group.values[0], attacker=group.values[0].victims), group.values[1])
    stage.audit = replace(stage.audit, properties=(replace(group, values=values),))
    with pytest.raises(ConfigError, match="share 4 frames"):
        run("linear_probe")
