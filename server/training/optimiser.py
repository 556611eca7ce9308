"""Adam with a one-cycle schedule, as OpenPCDet's `adam_onecycle` trains."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR

from shared_models.records import check

START_DIVISOR, END_DIVISOR = 10.0, 1e4


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimiserConfig:
    """One-cycle Adam; the defaults are OpenPCDet's for SECOND-IoU on KITTI.

    learning_rate: at the top of the cycle; it starts at a tenth and ends at a hundred-thousandth of that.
    weight_decay: decoupled, on every parameter.
    warm_up_share: share of the steps until the top.
    momentum_high, momentum_low: Adam's first beta at both ends of the cycle and at its top.
    beta2: Adam's second beta.
    clip_norm: gradients longer than this are shortened to it.
    """

    learning_rate: float = 0.003
    weight_decay: float = 0.01
    warm_up_share: float = 0.4
    momentum_high: float = 0.95
    momentum_low: float = 0.85
    beta2: float = 0.99
    clip_norm: float = 10.0

    def __post_init__(self) -> None:
        check.number("OptimiserConfig", "learning_rate", self.learning_rate, 1e-9, 10)
        check.number("OptimiserConfig", "weight_decay", self.weight_decay, 0, 1)
        check.number("OptimiserConfig", "warm_up_share", self.warm_up_share, 0.001, 0.999)
        check.number("OptimiserConfig", "momentum_high", self.momentum_high, 0, 0.9999)
        check.number("OptimiserConfig", "momentum_low", self.momentum_low, 0, self.momentum_high)
        check.number("OptimiserConfig", "beta2", self.beta2, 0, 0.99999)
        check.number("OptimiserConfig", "clip_norm", self.clip_norm, 1e-6, 1e9)


def make_optimiser(
    parameters: Iterable[nn.Parameter], config: OptimiserConfig, total_steps: int
) -> tuple[Optimizer, LRScheduler]:
    """Optimiser and schedule over `total_steps` steps; the schedule is stepped after every step of the optimiser."""
    betas = (config.momentum_high, config.beta2)
    optimiser = AdamW(
        list(parameters), lr=config.learning_rate / START_DIVISOR, betas=betas, weight_decay=config.weight_decay
    )
    return optimiser, make_schedule(optimiser, config, total_steps)


def make_schedule(optimiser: Optimizer, config: OptimiserConfig, total_steps: int) -> LRScheduler:
    """One cycle over the coming `total_steps` steps of an optimiser; its moments stay."""
    return OneCycleLR(
        optimiser,
        max_lr=config.learning_rate,
        total_steps=total_steps + 1,  # torch counts the state before the first step too
        pct_start=(config.warm_up_share * total_steps + 1) / (total_steps + 1),  # torch puts the top a step earlier
        base_momentum=config.momentum_low,
        max_momentum=config.momentum_high,
        div_factor=START_DIVISOR,
        final_div_factor=END_DIVISOR,
    )
