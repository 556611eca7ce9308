"""How much Gaussian noise an (epsilon, delta) asks for: the analytic Gaussian mechanism.

B. Balle, Y.-X. Wang, "Improving the Gaussian Mechanism for Differential Privacy", ICML 2018, theorem 8. It is exact for
one Gaussian release, and also for k of them, which are one release of sqrt(k) times the sensitivity; the numerical
accountants of the known libraries (privacy loss distributions) approximate just this number, and are made for sampled
releases, which a vehicle does not have. So a vehicle needs neither them nor scipy.
"""

from __future__ import annotations

import math

from shared_models.errors import InvalidValueError

_STEPS = 200  # halvings of the interval; float64 needs about 60


def delta_of(epsilon: float, sigma: float, sensitivity: float) -> float:
    """delta = Phi(s / 2t - epsilon t / s) - e^epsilon Phi(-s / 2t - epsilon t / s), s the sensitivity, t = sigma."""
    ratio = sensitivity / sigma
    near, far = ratio / 2 - epsilon / ratio, -ratio / 2 - epsilon / ratio
    return max(0.0, _phi(near) - math.exp(min(700.0, epsilon + _log_phi(far))))


def sigma_for(epsilon: float, delta: float, sensitivity: float) -> float:
    """The least standard deviation with which the release is (epsilon, delta)-differentially private.

    Raises:
        InvalidValueError: epsilon or sensitivity is not positive, or delta not between 0 and 1.
    """
    if not (epsilon > 0 and sensitivity > 0 and 0 < delta < 1):
        raise InvalidValueError(
            f"Gaussian mechanism: expected epsilon and sensitivity above 0 and delta between 0 and 1, "
            f"got {epsilon}, {sensitivity} and {delta}"
        )
    low, high = 1e-6, 1e6  # of sigma / sensitivity
    for _ in range(_STEPS):
        middle = math.sqrt(low * high)
        if delta_of(epsilon, middle, 1.0) > delta:
            low = middle
        else:
            high = middle
    return high * sensitivity


def _phi(x: float) -> float:
    """Distribution function of the standard normal distribution."""
    return 0.5 * math.erfc(-x / math.sqrt(2))


def _log_phi(x: float) -> float:
    """Its logarithm, also far in the lower tail, where erfc gives 0."""
    if x > -30:
        return math.log(_phi(x))
    square = x * x  # Abramowitz and Stegun 26.2.12
    return -square / 2 - math.log(-x) - 0.5 * math.log(2 * math.pi) + math.log1p(-1 / square + 3 / square**2)
