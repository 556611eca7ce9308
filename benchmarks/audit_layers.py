"""What `benchmarks.audit` measures: scans of drives of each seed's own, and attacks on each layer of them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import Progress, track

from server.audit import attacks
from server.audit.attack import Reconstruction, ReconstructionAttack, Workbench
from server.audit.controls import random_features
from server.audit.scenes import (
    AuditedVehicle,
    SceneTruth,
    Victims,
    make_paired,
    make_victims,
    read_truths,
    scene_seed,
    view_of,
)
from server.audit.scores import SceneScore, random_points, scored
from server.audit.threat import AttackerView, Threat
from server.training.source_config import SourceConfig
from server.training.sources import open_source
from shared_models import codecs
from shared_models.backbones.cut_geometry import CutGeometry
from shared_models.detectors.anchor_detector import AnchorDetector

SIMULATED: Final = "simulated,domain=germany,sensor=kitti,drives=50,frames_per_drive=20,seed={}"
OWN_SEED, VICTIM_SEED = 3000, 4000  # of drives: other ones than those that detectors are trained on
RANDOM: Final = "random points"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scans:
    """The attacker's own scans, and the victims' by name of their group."""

    own: list[SceneTruth]
    groups: dict[str, list[SceneTruth]]


def read_scans(own: int, victims: int, kitti: Path | None, seed: int, geometry: CutGeometry) -> Scans:
    """Scans spread evenly over the drives of this seed, and over the frames of KITTI that are this seed's."""
    sources = {
        "own": SourceConfig(dataset=SIMULATED.format(OWN_SEED + seed), split="train", frames=own),
        "simulated": SourceConfig(dataset=SIMULATED.format(VICTIM_SEED + seed), split="val", frames=victims),
    }
    if kitti is not None:
        sources["kitti"] = SourceConfig(dataset="kitti", root=str(kitti), split="training", view="camera")
    found = {}
    for name, config in sources.items():
        source = open_source(config)
        names = source.frame_ids
        if name == "kitti":
            rows = (np.linspace(0, len(names), victims, endpoint=False) + seed).astype(int)
            names = tuple(dict.fromkeys(names[row % len(names)] for row in rows))
        frames = track(names, description=f"scans: {name}", transient=True)
        found[name] = list(read_truths(source.dataset, list(frames), geometry, config.view))
    return Scans(own=found.pop("own"), groups=found)


def randomised(victims: Victims, codec: str, seed: int) -> Victims:
    """The same victims with random features in their payloads."""
    payloads = []
    for payload, truth in zip(victims.payloads, victims.truths, strict=True):
        generator = torch.Generator().manual_seed(scene_seed(seed, "random features", truth.scene_id))
        payloads.append(codecs.encode(random_features(codecs.decode(payload), generator), codec))
    return Victims(payloads=tuple(payloads), truths=victims.truths)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One attack on one layer with one seed.

    steps, is_cut: as `Spent`. prepare_cpu_s: processor seconds of its preparation. scene_cpu_s: of one scene, measures
        left out. scores: by group. clouds: of each group's first scene; the scan itself for random points.
    """

    attack: str
    layer: str
    seed: int
    steps: int
    is_cut: bool
    prepare_cpu_s: float
    scene_cpu_s: float
    scores: dict[str, list[SceneScore]]
    clouds: dict[str, NDArray[np.float32]]


def measure(
    name: str, settings: Mapping[str, Any], view: AttackerView, groups: Mapping[str, Victims], seed: int
) -> Measured:
    """One attack, prepared and shown all victims."""
    attack, layer = attacks.build(name, settings), view.geometry.split_layer
    assert isinstance(attack, ReconstructionAttack)
    with Progress(transient=True) as bar:
        task = bar.add_task(f"{name} {layer}", total=None)
        bench = Workbench(seed=seed, progress=lambda done, total: bar.update(task, completed=done, total=total))
        start = time.process_time()
        attack.prepare(view, bench)
        prepared_s = time.process_time() - start
    start = time.process_time()
    found = {group: [attack.reconstruct(payload) for payload in each.payloads] for group, each in groups.items()}
    scenes_s = (time.process_time() - start) / sum(len(each) for each in groups.values())
    return Measured(
        attack=name,
        layer=layer,
        seed=seed,
        **asdict(attack.spent()),
        prepare_cpu_s=prepared_s,
        scene_cpu_s=scenes_s,
        scores=scored_groups(groups, found, view.geometry),
        clouds={group: made[0].points for group, made in found.items()},
    )


def scored_groups(
    groups: Mapping[str, Victims], found: Mapping[str, Sequence[Reconstruction]], geometry: CutGeometry
) -> dict[str, list[SceneScore]]:
    """All measures of each scene by group."""
    return {name: scored(zip(each.truths, found[name], strict=True), geometry) for name, each in groups.items()}


def random_floor(groups: Mapping[str, Victims], geometry: CutGeometry, seed: int) -> Measured:
    """As many random points as each victim's scan has."""
    found = {
        name: [
            random_points(len(t.points), geometry, scene_seed(seed, "random", t.scene_id) % 2**32) for t in each.truths
        ]
        for name, each in groups.items()
    }
    return Measured(
        attack=RANDOM,
        layer="-",
        seed=seed,
        steps=0,
        is_cut=False,
        prepare_cpu_s=0.0,
        scene_cpu_s=0.0,
        scores=scored_groups(groups, found, geometry),
        clouds={name: each.truths[0].points for name, each in groups.items()},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is measured. names: of attacks, NAME or NAME@LAYER. settings: by attack."""

    names: tuple[str, ...]
    layers: tuple[str, ...]
    settings: Mapping[str, Any]
    threat: Threat
    codec: str
    guard: str
    is_random: bool


def run(plan: Plan, scans: Scans, detector: AnchorDetector, seed: int) -> list[Measured]:
    """Every attack on every layer."""
    results: list[Measured] = []
    for layer in plan.layers:
        wanted = [name.partition("@") for name in plan.names]
        here = [name for name, _, only in wanted if only in ("", layer)]
        vehicle = AuditedVehicle(detector, codec=plan.codec, guard=plan.guard, split_layer=layer)
        paired = list(make_paired(vehicle, scans.own, seed)) if here else []
        groups = {name: make_victims(vehicle, each, seed) for name, each in scans.groups.items()}
        if not results:
            results.append(random_floor(groups, vehicle.geometry, seed))
        if plan.is_random:
            groups = {name: randomised(each, plan.codec, seed) for name, each in groups.items()}
        payloads = [payload for each in groups.values() for payload in each.payloads]
        view = view_of(plan.threat, vehicle, payloads, paired, seed)
        results += [measure(name, plan.settings.get(name, {}), view, groups, seed) for name in here]
    return results
