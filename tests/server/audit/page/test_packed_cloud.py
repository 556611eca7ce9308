"""Clouds as text, read back as the viewer does."""

from __future__ import annotations

import base64

import numpy as np

from server.audit.page.packed_cloud import PackedClouds, packed


def read(clouds: PackedClouds) -> tuple[np.ndarray, np.ndarray]:
    """(places in metres, shades 0 to 1), as viewer.js takes them apart."""
    raw, count = base64.b64decode(clouds.data), clouds.truth + clouds.found
    assert len(raw) == 7 * count
    return np.frombuffer(raw[: 6 * count], "<i2").reshape(-1, 3) / 100, np.frombuffer(raw[6 * count :], np.uint8) / 255


def test_places_are_kept_to_a_centimetre_and_distances_are_to_the_other_cloud() -> None:
    truth = np.array([[1.234, -2, 0.5], [30, 0, 0]], np.float32)
    found = np.array([[1.234, -2, 0.0], [100, 5, 0], [30, 0, 0]], np.float32)
    clouds = packed(truth, found, most=10)
    assert (clouds.truth, clouds.found, clouds.is_thinned) == (2, 3, False)
    places, shades = read(clouds)
    np.testing.assert_allclose(places, np.concatenate([truth, found]), atol=0.0051)
    np.testing.assert_allclose(shades, [0.5, 0, 0.5, 1, 0], atol=0.003)


def test_thinning_is_stated_repeatable_and_measures_before_it_leaves_out() -> None:
    truth = np.random.default_rng(0).uniform(0, 50, (500, 4))
    clouds = packed(truth, truth, most=40)
    assert (clouds.truth, clouds.found, clouds.of_truth, clouds.of_found, clouds.is_thinned) == (40, 40, 500, 500, True)
    assert packed(truth, truth, most=40) == clouds
    assert read(clouds)[1].max() == 0  # every point has its equal in the whole other cloud


def test_empty_clouds_and_points_that_do_not_fit() -> None:
    nothing = np.zeros((0, 3))
    assert packed(nothing, nothing, 5).data == ""
    odd = np.array([[1, 1, 1], [np.nan, 0, 0], [400, 0, 0], [np.inf, 0, 0]])
    clouds = packed(odd, nothing, 5)
    assert (clouds.truth, clouds.of_truth) == (1, 4)
    assert read(clouds)[1].tolist() == [1]
