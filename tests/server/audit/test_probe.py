"""Logistic regression against its optimality condition, worked out apart from it."""

from __future__ import annotations

import numpy as np
import pytest

from server.audit.probe import fit_probe
from shared_models.errors import InvalidValueError


def rows_of(seed: int, count: int, shift: float) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 4)) + np.array([shift, 0, 0, 0])


def test_it_tells_apart_what_differs_in_one_column() -> None:
    rows = np.concatenate((rows_of(0, 40, -2), rows_of(1, 40, 0), rows_of(2, 40, 2)))
    labels = ["a"] * 40 + ["b"] * 40 + ["c"] * 40
    probe = fit_probe(rows, labels, ridge=0.01)
    fresh = np.concatenate((rows_of(3, 40, -2), rows_of(4, 40, 0), rows_of(5, 40, 2)))
    right = np.mean([probe.predict(row) == label for row, label in zip(fresh, labels, strict=True)])
    assert right > 0.7


def test_the_weights_are_the_optimum_of_the_written_loss() -> None:
    """A tenth of the scenes weighs as much as the other nine, and no step downhill is left (finite differences)."""
    rows, labels = np.concatenate((rows_of(0, 45, 0), rows_of(1, 5, 1))), ["a"] * 45 + ["b"] * 5
    ridge = 0.2
    probe = fit_probe(rows, labels, ridge)
    scaled = np.concatenate(((rows - rows.mean(0)) / rows.std(0), np.ones((50, 1))), 1)

    def loss(weights: np.ndarray) -> float:
        logits = scaled @ weights
        own = np.where(np.array(labels) == "a", logits[:, 0], logits[:, 1])
        each = np.log(np.exp(logits).sum(1)) - own
        return (each[:45].mean() + each[45:].mean()) / 2 + ridge / 2 * (weights[:-1] ** 2).sum()

    best = loss(probe.weights)
    for row in range(5):
        for column in range(2):
            for step in (-1e-2, 1e-2):
                other = probe.weights.copy()
                other[row, column] += step
                assert loss(other) >= best - 1e-6


def test_columns_that_never_change_do_no_harm() -> None:
    rows = np.concatenate((rows_of(0, 9, -5), rows_of(1, 9, 5)))
    rows[:, 3] = 7.0
    assert fit_probe(rows, ["a"] * 9 + ["b"] * 9, 0.1).predict(np.array([5, 0, 0, 7.0])) == "b"


@pytest.mark.parametrize("labels", [["a"] * 4, ["a", "a", "a", "b"]])
def test_too_few_scenes_are_refused_with_their_numbers(labels: list[str]) -> None:
    with pytest.raises(InvalidValueError, match="at least two values with 2 scenes.*'a'"):
        fit_probe(np.zeros((4, 2)), labels, 0.1)
