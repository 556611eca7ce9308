"""A small report with everything that a page can have; names from files try to break out of the page."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np

EVIL = '<script>alert("x")</script>&amp;$'
GROUPS = ("simulated", EVIL)
MEASURES = ("chamfer_m", "verbatim_share", "points", "f_score_0.2m", "recall_0.2m", "precision_0.2m")
PARTS = ("above_ground/", "class/Car/", f"class/{EVIL}/", "band/0-20m/", "band/40-infm/")


def estimates(start: float) -> dict[str, dict[str, float | int | None]]:
    """Every measure with a number of its own."""
    names = [*MEASURES, *(f"{part}{name}" for part in PARTS for name in ("f_score_0.2m", "recall_0.2m"))]
    names += ["above_ground/precision_0.2m"]
    return {
        name: {"mean": start + place / 97, "low": start + place / 97 - 0.005, "high": start + place / 89, "scenes": 4}
        for place, name in enumerate(names)
    }


def numbers(start: float) -> dict[str, Any]:
    """Of one attack on one group."""
    scenes = [{"scene_id": f"scene-{n}", "numbers": {"f_score_0.2m": start + n / 10}} for n in range(4)]
    return {"estimates": estimates(start), "ranked": [s["scene_id"] for s in scenes], "scenes": scenes}


def attack(title: str, name: str, start: float, kind: str = "reconstruction", **more: Any) -> dict[str, Any]:
    """One attack on both groups."""
    return {
        "title": title,
        "attack": name,
        "kind": kind,
        "settings": {"steps": 20, "note": EVIL},
        "threat": "own scans",
        "needs": ["paired"],
        "groups": {group: numbers(start) for group in GROUPS},
        "cost": {"preparing_s": 12.5, "scenes_s": 3.25, "steps": 1234, "is_cut": True},
        **more,
    }


REPORT: dict[str, Any] = {
    "schema": "upcycle.audit.v2",
    "audit_id": "small-quick-0123456789",
    "name": f"small {EVIL}",
    "effort": "quick",
    "seed": 77,
    "scope": {
        "detector": "second_iou",
        "weights": "seeded, untrained weights",
        "backbone_hash": "ab" * 32,
        "split_layer": "conv_out",
        "codec": "float16",
        "guard": f"none {EVIL}",
        "guard_hash": "cd" * 32,
        "point_range_m": [0, -20, -3, 35.2, 20, 1],
        "cell_size_m": [0.8, 0.8, 1.6],
        "config_sha256": "ef" * 32,
        "code_sha256": "01" * 32,
    },
    "victims": [
        {
            "name": group,
            "dataset": "simulated" if group == "simulated" else "kitti",
            "is_simulated": group == "simulated",
            "relation": f"others {EVIL}",
            "scenes": [f"scene-{n}" for n in range(4)],
            "mean_points": 15824.5,
            "mean_payload_bytes": 104626.0,
        }
        for group in GROUPS
    ],
    "attacker": {"dataset": f"simulated {EVIL}", "scenes": 40},
    "threats": [
        {
            "name": "own scans",
            "gives": ["paired"],
            "origin": EVIL,
            "budget": {"steps": 120, "seconds": 600.0, "scenes": 41, "queries": 1000},
        }
    ],
    "controls": {
        "floor: random points": {group: numbers(0.01) for group in GROUPS},
        "floor: mean scene": {group: numbers(0.11) for group in GROUPS},
        "ceiling: raw points": {group: numbers(0.81) for group in GROUPS},
    },
    "decision_groups": [],
    "attacks": [attack("active_cells", "active_cells", 0.21), attack(f"decoder {EVIL}", "decoder", 0.31)],
    "not_tested": [f"everything else {EVIL}"],
    "cost": {"seconds": 5432.1, "device": "cpu"},
}


def cloud(seed: int, points: int) -> np.ndarray:
    """Points in front of the sensor."""
    drawn = np.random.default_rng(seed).uniform([1, -15, -1.8, 0], [34, 15, 1, 1], (points, 4))
    return drawn.astype(np.float32)


def write_folder(folder: Path, layer: str = "conv_out") -> Path:
    """An audit's folder: report, configuration, scans of the decoder."""
    table = copy.deepcopy(REPORT)
    table["scope"]["split_layer"] = layer
    folder.mkdir()
    (folder / "report.json").write_text(json.dumps(table))
    (folder / "config.json").write_text('{"seed": 77}')
    keys = [f"simulated|{word}|a|b|{which}" for word in ("most", "least") for which in ("truth", "found")]
    clouds = {key: cloud(len(key), 30) for key in keys}
    np.savez_compressed(folder / "decoder-script-alert-x-script-amp-.npz", **clouds)
    return folder
