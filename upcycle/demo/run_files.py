"""The demonstration's run files: the same as for `upcycle train`, `upcycle evaluate` and `upcycle audit`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from server.training.atomic_files import write_whole
from server.training.run_config import RunConfig, merged_tables, parse_run, whole_run_text
from upcycle.demo.config import DemoConfig

ORDER: Final = ["ground_truth_sampling", "statistical_normalisation", "flip", "rotation", "scaling"]
# ST3D's thresholds, as in the other domain adaptations of this project.
PSEUDO_LABELS: Final = {"class_score": 0.0, "box_score": [0.6], "ignore_from": 0.2}
NEVER: Final = 10**6  # no saved state in the middle: the whole stage is made again


def pretraining(config: DemoConfig) -> RunConfig:
    """Supervised training in the source city: the checkpoint that the fleet drives with."""
    steps, rate = config.pretraining_steps, config.pretraining_rate
    detector = {"name": "second_iou", "setting": config.setting, "override": config.override}
    return _run(config, "demo-fleet", detector, steps, rate, config.threads)


def control(config: DemoConfig, checkpoint: Path) -> RunConfig:
    """UpCycling with unlabelled scans of the source city in the place of the fleet's.

    All but the uploads is the same, the objects that are pasted into features among it: they alone teach a lot.
    """
    own = {"store": {"codec": config.codec, "guard": config.guard}}
    more = {"recipe": "upcycling", "settings": merged_tables(_settings(config, own), config.recipe)}
    return _further(config, "demo-control", checkpoint, more | {"data": {"unlabelled": {"dataset": config.own}}})


def upcycling(config: DemoConfig, checkpoint: Path, server_data: Path) -> RunConfig:
    """Labelled scans of the source city together with what the fleet has uploaded."""
    fleet = {"store": {"folder": str(server_data), "codec": config.codec, "guard": config.guard}}
    more = {"recipe": "upcycling", "settings": merged_tables(_settings(config, fleet), config.recipe)}
    return _further(config, "demo-upcycling", checkpoint, more)


def _settings(config: DemoConfig, store: Mapping[str, Any]) -> dict[str, Any]:
    return {"unlabelled_ratio": config.unlabelled_ratio, "pseudo_labels": PSEUDO_LABELS, **store}


def _further(config: DemoConfig, name: str, checkpoint: Path, more: Mapping[str, Any] | None = None) -> RunConfig:
    detector = {"name": "second_iou", "checkpoint": str(checkpoint)}
    threads = max(1, config.threads // 2)
    return _run(config, name, detector, config.adaptation_steps, config.adaptation_rate, threads, more)


def _run(
    config: DemoConfig,
    name: str,
    detector: Mapping[str, Any],
    steps: int,
    rate: float,
    threads: int,
    more: Mapping[str, Any] | None = None,
) -> RunConfig:
    table = {
        "name": name,
        "seed": config.seed,
        "detector": detector,
        "data": {"labelled": {"dataset": config.source, "in_memory": 1000}},
        "augmentation": {
            "order": ORDER,
            "statistical_normalisation": {"delta_m": [list(row) for row in config.size_change_m]},
        },
        "objective": {"proposals": {"pre_max": 1024}},
        "optimiser": {"learning_rate": rate},
        "loop": {"batch_size": config.batch_size, "steps": steps, "threads": threads, "device": "cpu",
                 "save_every": NEVER},
    }  # fmt: skip
    return parse_run(merged_tables(table, more or {}), name)


def audit_table(config: DemoConfig, checkpoint: Path) -> dict[str, Any]:
    """An audit of exactly what the vehicles sent: their scans, checkpoint, codec and guard."""
    own, none = "scans of the same city", "stored payloads only"
    victims = [
        {
            "name": f"vehicle-{number}",
            "relation": "the fleet's own drives; the attacker has other drives of the same city and sensor",
            "frames": {"dataset": world, "frames": config.audited_scans},
        }
        for number, world in enumerate(config.worlds)
    ]
    budget = {"steps": config.attack_steps, "seconds": config.attack_s, "scenes": config.attack_scans}
    return {
        "name": "demo-audit",
        "seed": config.seed,
        "detector": {"checkpoint": str(checkpoint)},
        "upload": {"codec": config.codec, "guard": config.guard},
        "attacker": {"dataset": config.attackers, "frames": config.attack_scans},
        "victims": victims,
        "threats": [{"name": none}, {"name": own, "gives": ["paired"], "origin": config.attackers}],
        "attacks": [
            {"attack": "active_cells", "threat": none},
            {"attack": "active_cells", "label": "active_cells, filled", "threat": none,
             "settings": {"points_per_side": 3}},
            {"attack": "occupancy", "threat": own},
        ],
        "quick": {"victims": config.audited_scans, "rounds": config.rounds, "budget": budget},
        "intervals": {"fewest_scenes": min(5, config.audited_scans)},
    }  # fmt: skip


def write_run(path: Path, run: RunConfig) -> Path:
    """Keep a run as a file that `upcycle train --run` takes; gives its path."""
    write_whole(path, whole_run_text(run).encode())
    return path


def write_table(path: Path, table: Mapping[str, Any]) -> Path:
    """Keep a table as JSON; gives its path."""
    write_whole(path, (json.dumps(table, indent=1) + "\n").encode())
    return path
