"""Multinomial logistic regression with a ridge, to the optimum and without randomness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from shared_models.errors import InvalidValueError

FEWEST_PER_VALUE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A fitted classifier of rows (D,).

    values: K names. mean, scale: (D,) float64, what rows are brought to mean 0 and spread 1 with.
    weights: (D + 1, K) float64, the last row is added.
    """

    values: tuple[str, ...]
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    weights: NDArray[np.float64]

    def predict(self, row: NDArray[np.float64]) -> str:
        """The likeliest value; of equally likely ones the first by name."""
        return self.values[int(np.argmax(_with_one(((row - self.mean) / self.scale)[None])[0] @ self.weights))]


def fit_probe(rows: NDArray[np.float64], labels: Sequence[str], ridge: float) -> Probe:
    """The minimum of: mean cross-entropy, each value weighing the same, + ridge / 2 x the sum of squared weights.

    rows: (S, D). labels: of the S rows.

    Raises:
        InvalidValueError: fewer than two values, or fewer than two rows of one.
    """
    values = tuple(sorted(set(labels)))
    counts = {value: list(labels).count(value) for value in values}
    if len(values) < 2 or min(counts.values()) < FEWEST_PER_VALUE:
        raise InvalidValueError(
            f"property: expected at least two values with {FEWEST_PER_VALUE} scenes of the attacker's own each, "
            f"got {counts}; give him more scenes"
        )
    mean, scale = rows.mean(0), rows.std(0)
    scale = np.where(scale > 1e-9, scale, 1.0)
    inputs = _with_one((rows - mean) / scale)
    truth = np.array([[label == value for value in values] for label in labels], np.float64)
    shares = np.array([1 / (len(values) * counts[label]) for label in labels])

    def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weights = flat.reshape(inputs.shape[1], len(values))
        logits = inputs @ weights
        penalised = np.concatenate((weights[:-1], np.zeros((1, len(values)))))
        value = -float((shares[:, None] * truth * log_softmax(logits, axis=1)).sum())
        slope = inputs.T @ (shares[:, None] * (softmax(logits, axis=1) - truth)) + ridge * penalised
        return value + ridge / 2 * float((penalised**2).sum()), slope.ravel()

    found = minimize(loss, np.zeros(inputs.shape[1] * len(values)), jac=True, method="L-BFGS-B")
    return Probe(values=values, mean=mean, scale=scale, weights=found.x.reshape(inputs.shape[1], len(values)))


def _with_one(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate((rows, np.ones((len(rows), 1))), 1)
