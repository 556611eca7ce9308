"""The camera of the pictures, and that they can be drawn from anything."""

from __future__ import annotations

import numpy as np
import pytest

from server.audit.page.views import EYE_M, TOWARDS_M, Panel, Stage, from_above, in_perspective, projected


def test_the_camera_sees_left_to_the_left_and_high_above_and_nothing_behind() -> None:
    moved = np.array([[0, 0, 0], [0, 3, 0], [0, 0, 2]])
    points = np.concatenate([TOWARDS_M + moved, EYE_M[None] - [5, 0, 0]])
    right, up, depth = projected(points)
    np.testing.assert_allclose([right[0], up[0]], 0, atol=1e-12)
    assert depth[0] == pytest.approx(np.linalg.norm(TOWARDS_M - EYE_M))
    assert right[1] == pytest.approx(-3 / depth[0])  # y is to the left
    assert up[2] > 0
    assert np.isnan(right[3])


def test_the_stage_reaches_as_far_as_the_scan_and_no_farther_than_the_range() -> None:
    stage = Stage.of(np.array([[5.0, -3, -1.7], [80, 4, 0]]), [0, -20, -3, 35.2, 20, 1])
    assert stage.x_m == (4.0, 35.2)
    assert stage.y_m == (-4.0, 5.0)
    assert Stage.of(np.zeros((0, 3)), [0, -20, -3, 35.2, 20, 1]).x_m == (0.0, 35.2)


@pytest.mark.parametrize("draw", [from_above, in_perspective])
def test_pictures_are_small_repeatable_and_take_empty_clouds(draw) -> None:
    stage = Stage(x_m=(0, 30), y_m=(-10, 10), ground_m=-1.7)
    points = np.random.default_rng(0).uniform([0, -10, -1.7], [30, 10, 1], (300, 3)).astype(np.float32)
    panels = [Panel(title="$x_{", points=points), Panel(title="none", points=points[:0])]
    first = draw(panels, stage)
    assert first == draw(panels, stage)
    assert first.startswith(b"\x89PNG")
    assert len(first) < 60_000
