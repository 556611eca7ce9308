from __future__ import annotations

import numpy as np

from server.training.object_drawing import draw_objects, free_of_collisions


class Objects:
    def rows_of(self, label: int) -> np.ndarray:
        return np.arange(10) * 3 + label


def test_numbers_per_class_none_twice_and_less_what_is_held():
    rng = np.random.default_rng(0)
    drawn = draw_objects(Objects(), (4, 0, 20), rng)
    assert np.bincount(drawn % 3, minlength=3).tolist() == [4, 0, 10]
    assert len(np.unique(drawn)) == len(drawn)
    held = np.array([0, 0, 0, 2, 2])
    assert np.bincount(draw_objects(Objects(), (4, 0, 5), rng, held) % 3, minlength=3).tolist() == [1, 0, 3]
    assert len(draw_objects(Objects(), (2, 0), rng, held)) == 0


def test_the_earlier_goes_before_the_later():
    def at(*x_m: float) -> np.ndarray:
        return np.array([[x, 0, 0, 4, 2, 1.5, 0] for x in x_m], np.float32).reshape(-1, 7)

    # The second meets the first; the third meets only the second, which is out; the fourth meets the scene.
    assert free_of_collisions(at(20), at(0, 3, 6, 18)).tolist() == [True, False, True, False]
    assert free_of_collisions(at(), at(0, 4)).tolist() == [True, True]  # touching is no collision
    assert free_of_collisions(at(5), at()).tolist() == []
