"""The whole demonstration in seconds: a detector with a map of 16 x 16 cells, one vehicle, few steps and scans."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from upcycle.demo.config import DemoConfig

OVERRIDE: Final[dict[str, Any]] = {
    "voxels": {"point_range_m": [0, -6.4, -3, 12.8, 6.4, 1]},
    "backbone": {"stage_channels": [8, 8, 16, 16], "out_channels": 16},
    "bev": {"layer_counts": [1, 1], "channels": [16, 16], "upsample_channels": [16, 16]},
    "roi": {"widths": [16, 16]},
}
VALUES: Final[dict[str, Any]] = {
    "override": OVERRIDE,
    "source": "simulated,domain=usa,drives=1,frames_per_drive=3,seed=1",
    "vehicles": 1,
    "drives": 1,
    "frames_per_drive": 3,
    "held_out_drives": 1,
    "attacker_drives": 1,
    "pretraining_steps": 2,
    "adaptation_steps": 2,
    "batch_size": 2,
    "threads": 1,
    "with_control": False,
    "rounds": 4,
    "audited_scans": 2,
    "attack_steps": 2,
    "attack_scans": 2,
}


def small_config(**changed: Any) -> DemoConfig:
    """The small demonstration with some values changed."""
    return replace(DemoConfig(**VALUES), **changed)
