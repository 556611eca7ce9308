"""Properties from features."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from server.audit.attack import Workbench
from server.audit.attacks.linear_probe import LinearProbe
from server.audit.threat import PairedScene
from shared_models.errors import BackboneMismatchError, InvalidValueError, PayloadError

BENCH = Workbench()


@pytest.fixture(scope="module")
def wet_or_dry(small_view):
    """A view whose own scenes are dry, or wet: the ground gives back only a third of the points."""
    view = small_view("conv_out", scenes=8)
    scenes = []
    for number, scene in enumerate(view.own_scenes()):
        is_wet = number % 2 == 1
        points = scene.points[np.random.default_rng(number).uniform(size=len(scene.points)) < (0.33 if is_wet else 1)]
        properties = {"weather": "wet" if is_wet else "dry"}
        scenes.append(PairedScene(points=points, payload=view.query(points), properties=properties))
    return replace(view, paired=tuple(scenes))


def probe_of(view) -> LinearProbe:
    attack = LinearProbe()
    attack.property_name = "weather"
    attack.prepare(view, BENCH)
    return attack


def test_it_tells_the_weather_of_other_scenes(wet_or_dry) -> None:
    own = wet_or_dry.own_scenes()
    attack = probe_of(replace(wet_or_dry, paired=own[:6]))
    assert [attack.predict(scene.payload) for scene in own[6:]] == ["dry", "wet"]


def test_what_it_cannot_work_with_is_refused(wet_or_dry, small_view) -> None:
    with pytest.raises(InvalidValueError, match="prepare it"):
        LinearProbe().predict(wet_or_dry.payloads[0])
    with pytest.raises(InvalidValueError, match="does not say its 'weather'"):
        probe_of(small_view("conv_out"))
    with pytest.raises(InvalidValueError, match="at least two values"):
        probe_of(replace(wet_or_dry, paired=wet_or_dry.own_scenes()[:1]))
    attack = probe_of(wet_or_dry)
    with pytest.raises(BackboneMismatchError, match="conv1"):
        attack.predict(small_view("conv1").payloads[0])
    with pytest.raises(PayloadError):
        attack.predict(wet_or_dry.payloads[0][:-9])
