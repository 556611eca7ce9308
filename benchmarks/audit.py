"""What reconstruction attacks restore of simulated scans, layer by layer, beside their floors.

    python -m benchmarks.audit --attack decoder --attack occupancy --layer conv1 --layer conv3 --layer conv_out
        [--checkpoint DIR] [--setting tiny] [--own 60] [--victims 10] [--seed 0] [--json FILE]
        [--set occupancy.steps=300] [--features random]

The attacker's own scans and the victims come from different simulated drives of the same city and sensor. Floors: the
mean scene, and as many random points as the attack gave. `--features random` replaces the victims' features by random
ones after the attack was prepared on real ones: every attack must then fall to its floor.
"""

from __future__ import annotations

import json
import statistics
import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console
from rich.progress import Progress, track
from rich.table import Table

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
from server.audit.scores import random_points, scored
from server.audit.threat import Ability, Budget, PairedScene, Threat
from shared_models import checkpoints, codecs, detectors
from shared_models.backbones.cut_geometry import CutGeometry
from shared_models.datasets import open_dataset
from shared_models.errors import ConfigError, UpcycleError

SHOWN = ("f_score_0.1m", "f_score_0.2m", "f_score_0.5m", "chamfer_m", "hausdorff_95_m", "voxel_iou_0.2m", "psnr_d1_db")
FRAMES_PER_DRIVE = 2
FLOOR = "mean_scene"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scans:
    """The attacker's own scans and the victims', of different drives."""

    own: list[SceneTruth]
    victims: list[SceneTruth]


def simulate(own: int, victims: int, seed: int, geometry: CutGeometry) -> Scans:
    """Simulated scans: drives of two frames each, the victims' drives after the attacker's."""
    own_drives, victim_drives = -(-own // FRAMES_PER_DRIVE), -(-victims // FRAMES_PER_DRIVE)
    given = f"simulated,drives={own_drives + victim_drives},frames_per_drive={FRAMES_PER_DRIVE},seed={seed}"
    dataset = open_dataset(given)
    names = dataset.frame_ids
    first = own_drives * FRAMES_PER_DRIVE
    chosen = [*names[:own], *names[first : first + victims]]
    truths = read_truths(dataset, list(track(chosen, description="simulate", transient=True)), geometry)
    found = list(truths)
    return Scans(own=found[:own], victims=found[own:])


def randomised(victims: Victims, codec: str, seed: int) -> Victims:
    """The same victims with random features in their payloads."""
    payloads = []
    for payload, truth in zip(victims.payloads, victims.truths, strict=True):
        generator = torch.Generator().manual_seed(scene_seed(seed, "random features", truth.scene_id))
        payloads.append(codecs.encode(random_features(codecs.decode(payload), generator), codec))
    return Victims(payloads=tuple(payloads), truths=victims.truths)


def measure(
    name: str, settings: Mapping[str, Any], view: Any, victims: Victims, seed: int, folder: Path | None
) -> dict[str, Any]:
    """One attack, prepared and shown all victims; with the floor of as many random points."""
    attack = attacks.build(name, settings)
    assert isinstance(attack, ReconstructionAttack)
    with Progress(transient=True) as bar:
        task = bar.add_task(f"{name} {view.geometry.split_layer}", total=None)
        bench = Workbench(
            seed=seed, folder=folder, progress=lambda done, total: bar.update(task, completed=done, total=total)
        )
        start, cpu = time.perf_counter(), time.process_time()
        attack.prepare(view, bench)
        prepared = {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu}
    start, cpu = time.perf_counter(), time.process_time()
    found = [attack.reconstruct(payload) for payload in victims.payloads]
    each = {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu}
    drawn = [random_points(len(one.points), view.geometry, seed + number) for number, one in enumerate(found)]
    fitted = getattr(attack, "last_fit", None)
    return {
        "attack": name,
        "layer": view.geometry.split_layer,
        "settings": dict(settings),
        "prepare": prepared,
        "reconstruct_per_scene": {unit: value / max(len(found), 1) for unit, value in each.items()},
        "steps": fitted.steps if fitted is not None else None,
        "is_cut": fitted.is_cut if fitted is not None else None,
        "measures": numbers_of(victims.truths, found, view.geometry),
        "random_points": numbers_of(victims.truths, drawn, view.geometry),
    }


def numbers_of(
    truths: Sequence[SceneTruth], found: Sequence[Reconstruction], geometry: CutGeometry
) -> dict[str, dict[str, float]]:
    """Mean, standard deviation over the scenes, worst and best of each measure that every scene has."""
    scores = scored(zip(truths, found, strict=True), geometry)
    names = [n for n in scores[0].numbers if "/" not in n and all(np.isfinite(s.numbers[n]) for s in scores)]
    by_name = {name: [score.numbers[name] for score in scores] for name in names}
    return {
        name: {
            "mean": statistics.fmean(values),
            "deviation": statistics.pstdev(values),
            "least": min(values),
            "most": max(values),
        }
        for name, values in by_name.items()
    }


def table_of(report: Mapping[str, Any]) -> Table:
    """The report for people: mean and, in brackets, standard deviation over the victims."""
    table = Table(title=f"{report['victims']} simulated victims, {report['setting']}, {report['weights']}")
    for heading in ("layer", "attack", "points", *SHOWN, "prepare CPU s"):
        table.add_column(heading, justify="left" if heading in ("layer", "attack") else "right")
    for row in report["results"]:
        for label, key in ((row["attack"], "measures"), ("  random points", "random_points")):
            numbers = row[key]
            shown = [f"{numbers[n]['mean']:.3g} ({numbers[n]['deviation']:.2g})" for n in ("points", *SHOWN)]
            spent = f"{row['prepare']['cpu_seconds']:.0f}" if key == "measures" else ""
            table.add_row(row["layer"], label, *shown, spent)
    return table


def run(
    scans: Scans,
    detector: Any,
    layers: Sequence[str],
    names: Sequence[str],
    settings: Mapping[str, Any],
    threat: Threat,
    codec: str,
    seed: int,
    is_random: bool,
    folder: Path | None,
) -> list[dict[str, Any]]:
    """Every attack on every layer."""
    results = []
    for layer in layers:
        vehicle = AuditedVehicle(detector, codec=codec, split_layer=layer)
        paired: list[PairedScene] = list(make_paired(vehicle, scans.own, seed))
        victims = make_victims(vehicle, scans.victims, seed)
        if is_random:
            victims = randomised(victims, codec, seed)
        view = view_of(threat, vehicle, victims.payloads, paired, seed)
        for name in names:
            own_folder = folder / f"{layer}-{name}-{seed}" if folder is not None else None
            given = settings.get(name, {})
            results.append(measure(name, given, view, victims, seed, own_folder))
    return results


def settings_from(words: Sequence[str]) -> dict[str, dict[str, Any]]:
    """`ATTACK.KEY=VALUE` words as settings of each attack; values as in TOML.

    Raises:
        ConfigError: a word is not of that form.
    """
    try:
        found = tomllib.loads("\n".join(words))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"--set: expected ATTACK.KEY=VALUE, for example decoder.steps=100, got {error}") from error
    for attack, given in found.items():
        if not isinstance(given, dict):
            raise ConfigError(f"--set {attack}: expected ATTACK.KEY=VALUE, for example decoder.steps=100")
    return found


def main(
    attack: Annotated[list[str], typer.Option(help="Name of an attack; can be given several times.")],
    layer: Annotated[list[str], typer.Option(help="Uploaded layer; can be given several times.")],
    checkpoint: Annotated[Path | None, typer.Option(help="Weights; seeded ones without it.")] = None,
    setting: Annotated[str, typer.Option(help="Setting of seeded weights.")] = "tiny",
    own: Annotated[int, typer.Option(help="Scans of the attacker's own.", min=2)] = 60,
    victims: Annotated[int, typer.Option(help="Victims.", min=1)] = 10,
    seed: Annotated[int, typer.Option(help="Of attack, guard and random features.", min=0)] = 0,
    scene_seed_number: Annotated[int, typer.Option("--scene-seed", help="Of the simulated drives.", min=0)] = 7,
    seconds: Annotated[float, typer.Option(help="Budget of an attack's training.")] = 3600.0,
    steps: Annotated[int, typer.Option(help="Budget of an attack's steps.")] = 100_000,
    set_: Annotated[list[str] | None, typer.Option("--set", help="ATTACK.KEY=VALUE")] = None,
    features: Annotated[str, typer.Option(help="real, or random: the victims' features.")] = "real",
    codec: Annotated[str, typer.Option(help="Name of the codec.")] = "float16",
    folder: Annotated[Path | None, typer.Option(help="Keep what interrupted attacks need to go on here.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the numbers to this file.")] = None,
    threads: Annotated[int, typer.Option(help="Threads of torch.", min=1)] = 1,
) -> None:
    """Measure attacks on simulated scans."""
    torch.set_num_threads(threads)
    console = Console()
    threat = Threat(
        name="white box with own scans",
        gives=(Ability.WHITE_BOX, Ability.PAIRED),
        origin="other drives of the same simulated city and sensor",
        budget=Budget(steps=steps, seconds=seconds, scenes=own),
    )
    try:
        if features not in ("real", "random"):
            raise ConfigError(f"--features: expected real or random, got {features!r}")
        if checkpoint is None:
            network, weights = detectors.build("second_iou", setting, seed=0), "seeded, untrained weights (seed 0)"
        else:
            network, weights = checkpoints.open_checkpoint(checkpoint), f"weights of {checkpoint.name}"
        settings = settings_from(set_ or [])
        scans = simulate(own, victims, scene_seed_number, CutGeometry.of(network.config.voxels, "conv_out"))
        results = run(scans, network, layer, attack, settings, threat, codec, seed, features == "random", folder)
    except UpcycleError as error:
        console.print(f"[red]{error}")
        raise typer.Exit(1) from error
    report = {
        "weights": weights,
        "setting": setting if checkpoint is None else "of the checkpoint",
        "own": own,
        "victims": victims,
        "seed": seed,
        "scene_seed": scene_seed_number,
        "features": features,
        "threads": threads,
        "results": results,
    }
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(report, indent=2) + "\n")
    console.print(table_of(report))


if __name__ == "__main__":
    typer.run(main)
