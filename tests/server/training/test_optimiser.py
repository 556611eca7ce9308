from __future__ import annotations

import pytest
import torch
from torch import nn

from server.training.optimiser import OptimiserConfig, make_optimiser
from shared_models.errors import InvalidValueError


def walk(config: OptimiserConfig, steps: int) -> tuple[list[float], list[float]]:
    """Learning rate and first beta at which each step is made, and those after the last."""
    weight = nn.Parameter(torch.ones(3))
    optimiser, schedule = make_optimiser([weight], config, steps)
    rates, betas = [], []
    for number in range(steps + 1):
        group = optimiser.param_groups[0]
        rates.append(group["lr"])
        betas.append(group["betas"][0])
        assert group["betas"][1] == config.beta2
        if number < steps:
            weight.grad = torch.ones(3)
            optimiser.step()
            schedule.step()
    return rates, betas


def test_one_cycle_from_a_tenth_to_the_top_at_40_percent_to_a_hundred_thousandth() -> None:
    rates, betas = walk(OptimiserConfig(learning_rate=0.003), 100)
    assert rates[0] == pytest.approx(0.0003)
    assert rates[20] == pytest.approx((0.0003 + 0.003) / 2)  # half of a cosine's half wave
    assert rates[10] == pytest.approx(0.003 - 0.0027 * (1 + 0.5**0.5) / 2)
    assert rates[40] == pytest.approx(0.003)
    assert max(rates) == rates[40]
    assert rates[70] == pytest.approx((0.003 + 3e-8) / 2)
    assert rates[100] == pytest.approx(0.0003 / 1e4)
    assert [betas[n] for n in (0, 20, 40, 70, 100)] == pytest.approx([0.95, 0.9, 0.85, 0.9, 0.95])


@pytest.mark.parametrize("steps", [1, 2, 3, 7])
def test_the_shortest_runs_have_a_schedule_too(steps: int) -> None:
    rates, _ = walk(OptimiserConfig(learning_rate=0.01), steps)
    assert rates[0] == pytest.approx(0.001)
    assert rates[-1] == pytest.approx(1e-7)
    assert all(1e-7 <= rate <= 0.01 for rate in rates)


def test_weight_decay_is_decoupled_from_the_gradient() -> None:
    """Without a gradient Adam's step is 0, and each weight shrinks by rate x decay; with it, both add up."""
    decayed, taught = nn.Parameter(torch.full((1,), 2.0)), nn.Parameter(torch.full((1,), 2.0))
    config = OptimiserConfig(learning_rate=0.1, weight_decay=0.5)
    optimiser, _ = make_optimiser([decayed, taught], config, 10)
    decayed.grad, taught.grad = torch.zeros(1), torch.full((1,), 1000.0)
    optimiser.step()
    assert decayed.item() == pytest.approx(2 * (1 - 0.01 * 0.5))
    # Adam's first step is the rate, whatever the size of the gradient.
    assert taught.item() == pytest.approx(2 * (1 - 0.01 * 0.5) - 0.01, abs=1e-6)


def test_settings_are_checked() -> None:
    with pytest.raises(InvalidValueError, match="OptimiserConfig.learning_rate: expected 1e-09 to 10, got 0"):
        OptimiserConfig(learning_rate=0)
    with pytest.raises(InvalidValueError, match="momentum_low: expected 0 to 0.5, got 0.85"):
        OptimiserConfig(momentum_high=0.5)
