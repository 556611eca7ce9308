"""A small report of an audit and a policy that it passes, for tests of the gate."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from shared_models import guards
from tests.loopback import BACKBONE

MADE_AT = datetime(2026, 11, 21, 12, tzinfo=UTC)

POLICY = """
name = "test"
guard = ""
least_scenes = 4
max_age_days = 30.0
[[required]]
attack = "occupancy"
threat = "own scans"
least_steps = 100
[[limits]]
measure = "f_score_0.2m"
most = 0.6
"""


def estimate(
    mean: float | None, low: float | None = None, high: float | None = None, scenes: int = 4
) -> dict[str, Any]:
    """As in a report."""
    return {"mean": mean, "low": low, "high": high, "scenes": scenes}


def make_attack(title: str = "occupancy", **changed: Any) -> dict[str, Any]:
    """An attack that gives back a scan; `estimates` are those of the group "kitti"."""
    estimates = changed.pop("estimates", {"f_score_0.2m": estimate(0.5, 0.4, 0.55)})
    given = {
        "title": title,
        "attack": title,
        "kind": "reconstruction",
        "settings": {},
        "threat": "own scans",
        "needs": ["paired"],
        "groups": {"kitti": {"estimates": estimates, "ranked": [], "scenes": []}},
        "cost": {"preparing_s": 1.0, "scenes_s": 1.0, "steps": 120, "is_cut": False},
    }
    return given | changed


def make_report(guard: str = "decoys", scope: dict[str, Any] | None = None, **changed: Any) -> dict[str, Any]:
    """A report on four real scenes whose one attack passes `POLICY`."""
    built = guards.build(guard)
    about = {
        "detector": "second_iou",
        "weights": "seed 0",
        "backbone_hash": BACKBONE,
        "split_layer": "conv_out",
        "codec": "float16",
        "guard": built.described(),
        "guard_hash": built.settings_hash,
        "point_range_m": [0.0] * 6,
        "cell_size_m": [0.4] * 3,
        "config_sha256": "0" * 64,
        "code_sha256": "0" * 64,
        "guard_effect": {"payloads": 4, "changed": 4},
    }
    given = {
        "schema": "upcycle.audit.v2",
        "audit_id": "audit-quick-0",
        "name": "audit",
        "effort": "quick",
        "seed": 1,
        "made_at": MADE_AT.isoformat(),
        "scope": about | (scope or {}),
        "victims": [{"name": "kitti", "is_simulated": False, "scenes": ["a", "b", "c", "d"]}],
        "decision_groups": [],
        "attacker": {"dataset": "kitti", "scenes": 20},
        "intervals": {"confidence": 0.95, "rounds": 100, "fewest_scenes": 4},
        "measures": {"above_m": -1.3},
        "controls": {"floor: mean scene": {"kitti": {"estimates": {"f_score_0.2m": estimate(0.3, 0.2, 0.4)}}}},
        "attacks": [make_attack()],
        "threats": [],
        "not_tested": [],
    }
    return given | changed


def write_report(path: Path, **changed: Any) -> Path:
    """`make_report` as a file."""
    path.write_text(json.dumps(make_report(**changed)))
    return path


def write_policy(path: Path, text: str = POLICY) -> Path:
    """A policy file."""
    path.write_text(text)
    return path
