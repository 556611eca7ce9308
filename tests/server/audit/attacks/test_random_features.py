"""Random features bring every attack that gives back a scan down to its floor.

What it says of a scene is then no nearer to that scene than to any other. The attacker learns from random features too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from server.audit import attacks
from server.audit.attack import ReconstructionAttack, Workbench
from server.audit.controls import identity_payload, random_features
from server.audit.point_measures import f_score, nearest
from shared_models import codecs

PEAK_M = 20.0
GROUND_M = -1.6
SETTINGS = {
    "active_cells": {},
    "mean_scene": {},
    "decoder": {
        "steps": 30,
        "window_cells": 16,
        "tile_cells": 64,
        "learning_rate": 5e-3,
        "calibration_scenes": 1,
    },
    "occupancy": {"decoder": {"width": 12}, "steps": 30, "learning_rate": 1e-2},
    "optimisation": {"start": "active_cells", "search": {"steps": 8, "restarts": 1, "revise_every": 8}},
}


def emptied(payload: bytes, seed: int) -> bytes:
    """The payload with random features in its place."""
    generator = torch.Generator().manual_seed(seed)
    return codecs.encode(random_features(codecs.decode(payload), generator), "float16")


def told_apart(scans: Sequence[NDArray[np.float32]], found: Sequence[NDArray[np.float32]]) -> float:
    """How much nearer, in F-score at 0.5 m above the ground, each scan is to its own reconstruction than to others'."""
    scores = np.array([[f_score(_above(scan, points), 0.5) for points in found] for scan in scans])
    others = ~np.eye(len(scans), dtype=bool)
    return float(scores.diagonal().mean() - scores[others].mean())


def _above(scan: NDArray[np.float32], points: NDArray[np.float32]):
    high = [each[each[:, 2] > GROUND_M, :3] for each in (scan, points)]
    return nearest(high[0], high[1], PEAK_M)


def test_every_reconstruction_attack_is_tested() -> None:
    assert {*SETTINGS, "keypoint_list"} == set(attacks.RECONSTRUCTIONS)


@pytest.mark.parametrize("name", SETTINGS)
def test_nothing_of_the_scene_comes_back(name: str, small_view) -> None:
    view = small_view("conv_out", scenes=8)
    own, scenes = view.own_scenes()[:4], view.own_scenes()[4:]
    scans = [scene.points for scene in scenes]
    paired = tuple(replace(scene, payload=emptied(scene.payload, seed)) for seed, scene in enumerate(own))
    payloads = tuple(emptied(scene.payload, 50 + seed) for seed, scene in enumerate(scenes))
    attack = attacks.build(name, SETTINGS[name])
    assert isinstance(attack, ReconstructionAttack)
    attack.prepare(replace(view, paired=paired, payloads=payloads), Workbench(seed=1))
    found = [attack.reconstruct(payload).points for payload in payloads]
    assert told_apart(scans, scans) > 0.7  # the measure tells scenes apart where there is something to tell
    assert abs(told_apart(scans, found)) < 0.08


def test_random_keypoints_are_no_points_of_the_scan(small_victim) -> None:
    attack = attacks.build("keypoint_list")
    assert isinstance(attack, ReconstructionAttack)
    payload = identity_payload(small_victim, "float32")
    scores = [
        f_score(nearest(small_victim, attack.reconstruct(each).points, PEAK_M), 0.1)
        for each in (payload, emptied(payload, 0))
    ]
    generator = np.random.default_rng(0)
    low, high = small_victim[:, :3].min(0), small_victim[:, :3].max(0)
    anywhere = generator.uniform(low, high, (len(small_victim), 3)).astype(np.float32)
    floor = f_score(nearest(small_victim, anywhere, PEAK_M), 0.1)
    assert scores[0] == 1
    assert scores[1] == pytest.approx(floor, abs=0.03)
