"""Place recognition from payloads."""

from __future__ import annotations

import numpy as np
import pytest

from server.audit.attack import Workbench
from server.audit.attacks.polar_map import PolarMap, PolarMapConfig, whitening
from server.audit.polar import PolarConfig
from server.audit.threat import Ability
from shared_models.errors import BackboneMismatchError, InvalidValueError, PayloadError

BENCH = Workbench()
PICTURE = PolarConfig(rings=8, sectors=30, reach_m=15.0)


@pytest.mark.parametrize("dimensions", [0, 4])
def test_the_same_scene_is_nearer_than_all_others(dimensions: int, small_view) -> None:
    """A payload beside itself with a tenth of its cells missing, and beside those of other scenes."""
    view = small_view("conv_out")
    attack = PolarMap(PolarMapConfig(picture=PICTURE, dimensions=dimensions))
    attack.prepare(view, BENCH)
    own = [scene.payload for scene in view.own_scenes()]
    queries = np.stack([attack.describe(view.query(scene.points[::2])) for scene in view.own_scenes()])
    stored = np.stack([attack.describe(payload) for payload in own])
    distances = np.linalg.norm(queries[:, None] - stored[None], axis=2)
    assert (distances.argmin(1) == np.arange(len(own))).mean() >= 5 / 6
    np.testing.assert_allclose(np.linalg.norm(stored, axis=1), 1, atol=1e-5)


def test_whitened_rows_have_spread_one() -> None:
    rows = np.random.default_rng(0).normal(size=(30, 5)) * [9, 3, 1, 1, 1] + 4
    mean, axes = whitening(rows, 3)
    np.testing.assert_allclose(np.cov(((rows - mean) @ axes).T), np.eye(3), atol=1e-9)
    assert whitening(rows[:4], 99)[1].shape == (5, 3)
    with pytest.raises(InvalidValueError, match="at least 3"):
        whitening(rows[:2], 2)
    with pytest.raises(InvalidValueError, match="equal pictures"):
        whitening(np.ones((5, 2)), 2)


def test_what_it_cannot_work_with_is_refused(small_view) -> None:
    assert PolarMap().required() == frozenset()
    assert PolarMap(PolarMapConfig(dimensions=2)).required() == {Ability.PAIRED}
    view = small_view("conv_out")
    with pytest.raises(InvalidValueError, match="prepare it"):
        PolarMap().describe(view.payloads[0])
    with pytest.raises(InvalidValueError, match="reached for paired"):
        PolarMap(PolarMapConfig(dimensions=2)).prepare(view.restricted_to(frozenset()), BENCH)
    attack = PolarMap()
    attack.prepare(view.restricted_to(frozenset()), BENCH)
    with pytest.raises(BackboneMismatchError, match="conv1"):
        attack.describe(small_view("conv1").payloads[0])
    with pytest.raises(PayloadError):
        attack.describe(view.payloads[0][:-9])
