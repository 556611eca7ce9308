"""Against scipy's distribution functions and roots, and the numerical accountant of another library."""

from __future__ import annotations

import math

import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from shared_models.errors import InvalidValueError
from shared_models.guards.gaussian_mechanism import delta_of, sigma_for


@pytest.mark.parametrize(("epsilon", "delta"), [(0.1, 1e-5), (1.0, 1e-5), (8.0, 1e-6), (50.0, 1e-9)])
def test_sigma_solves_the_equation_of_balle_and_wang(epsilon: float, delta: float) -> None:
    def excess(sigma: float) -> float:
        near, far = norm.cdf(0.5 / sigma - epsilon * sigma), norm.cdf(-0.5 / sigma - epsilon * sigma)
        return float(near - math.exp(epsilon) * far - delta)

    assert sigma_for(epsilon, delta, 1.0) == pytest.approx(brentq(excess, 1e-2, 1e3), rel=1e-6)


@pytest.mark.parametrize(
    ("sigma", "releases", "delta", "epsilon"),
    # Upper bounds by prv-accountant 0.2.0 with an error of epsilon of 0.001.
    [
        (3.730631634815947, 1, 1e-5, 1.00672),
        (0.6529353843582159, 1, 1e-6, 8.00103),
        (8.92190508474568, 16, 1e-6, 2.00101),
    ],
)
def test_another_accountant_finds_the_same_epsilon(sigma: float, releases: int, delta: float, epsilon: float) -> None:
    within = sigma_for(epsilon, delta, math.sqrt(releases))
    assert within <= sigma * (1 + 1e-6)
    assert within == pytest.approx(sigma, rel=0.01)


def test_sigma_is_the_least_that_keeps_the_promise_and_grows_with_the_sensitivity() -> None:
    sigma = sigma_for(2.0, 1e-6, 3.0)
    assert delta_of(2.0, sigma, 3.0) <= 1e-6 < delta_of(2.0, sigma * 0.999, 3.0)
    assert sigma == pytest.approx(3 * sigma_for(2.0, 1e-6, 1.0))


def test_extreme_promises_stay_finite() -> None:
    assert 0 < sigma_for(1e4, 1e-15, 1.0) < sigma_for(1e-3, 1e-15, 1.0) < math.inf


@pytest.mark.parametrize(("epsilon", "delta", "sensitivity"), [(0, 0.1, 1), (1, 0, 1), (1, 1, 1), (1, 0.1, 0)])
def test_impossible_promises_are_refused(epsilon: float, delta: float, sensitivity: float) -> None:
    with pytest.raises(InvalidValueError, match="Gaussian mechanism"):
        sigma_for(epsilon, delta, sensitivity)
