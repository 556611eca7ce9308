"""What reconstruction attacks restore, layer by layer, beside their floors.

    python -m benchmarks.audit --attack decoder --attack occupancy@conv_out --layer conv1 --layer conv3 --layer conv_out
        [--checkpoint DIR] [--setting tiny] [--own 60] [--victims 10] [--kitti DIR] [--seed 1 --seed 2] [--guard NAME]
        [--json FILE] [--clouds FILE] [--set occupancy.steps=300] [--features random]

Each seed has simulated drives of its own, for the attacker's scans and for the victims', and trains its attacks anew;
the tables are over the victims of all seeds. `--kitti` adds real victims, other frames for each seed. `NAME@LAYER` sets
an attack on that layer only. `--features random` replaces the victims' features by random ones after the attack was
prepared on real ones: every attack must then fall to its floor.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.audit_layers import RANDOM, Measured, Plan, read_scans, run
from server.audit.intervals import Estimate, IntervalConfig
from server.audit.scores import SceneScore, summarise
from server.audit.threat import Ability, Budget, Threat
from shared_models import checkpoints, detectors
from shared_models.backbones.cut_geometry import CutGeometry
from shared_models.detectors.anchor_detector import AnchorDetector
from shared_models.errors import ConfigError, UpcycleError

SHOWN = {
    "f_score_0.1m": "F 0.1 m",
    "f_score_0.2m": "F 0.2 m",
    "f_score_0.5m": "F 0.5 m",
    "above_ground/f_score_0.2m": "above ground",
    "class/Car/f_score_0.2m": "on cars",
    "chamfer_m": "Chamfer m",
    "hausdorff_95_m": "Hausdorff 95 % m",
    "voxel_iou_0.2m": "IoU 0.2 m",
    "psnr_d1_db": "PSNR D1 dB",
    "ground_cell_recall": "cells found",
    "ground_cell_precision": "precision",
}
TRUTH = "the scan itself"


def pooled(results: Sequence[Measured], group: str) -> dict[tuple[str, str], Mapping[str, Estimate]]:
    """Mean and interval of each measure over the victims of all seeds, by layer and attack."""
    together: dict[tuple[str, str], list[SceneScore]] = {}
    for result in results:
        together.setdefault((result.layer, result.attack), []).extend(result.scores[group])
    return {key: summarise(scores, IntervalConfig(), seed=0).estimates for key, scores in together.items()}


def report_of(results: Sequence[Measured]) -> dict[str, Any]:
    """All numbers: those of every scene, and of all together."""
    rows = []
    for result in results:
        row = {key: value for key, value in asdict(result).items() if key not in ("scores", "clouds")}
        rows.append(row | {"groups": {name: [asdict(s) for s in scores] for name, scores in result.scores.items()}})
    groups = results[0].scores
    found = {
        group: [
            {"layer": layer, "attack": attack, "estimates": {name: asdict(each) for name, each in estimates.items()}}
            for (layer, attack), estimates in pooled(results, group).items()
        ]
        for group in groups
    }
    return {"pooled": found, "results": rows}


def tables_of(results: Sequence[Measured], title: str) -> list[Table]:
    """For people: mean and 95 % interval over the victims of each group."""
    tables = []
    for group in results[0].scores:
        table = Table(title=f"{group}, {title}")
        for heading in ("layer", "attack", *SHOWN.values()):
            table.add_column(heading, justify="left" if heading in ("layer", "attack") else "right")
        for (layer, attack), estimates in pooled(results, group).items():
            table.add_row(layer, attack, *(_text(estimates.get(name)) for name in SHOWN))
        tables.append(table)
    return tables


def _text(estimate: Estimate | None) -> str:
    if estimate is None or estimate.mean is None:
        return ""
    if estimate.low is None or estimate.high is None:
        return f"{estimate.mean:.2f}"
    return f"{estimate.mean:.2f} ({estimate.low:.2f}-{estimate.high:.2f})"


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
    attack: Annotated[list[str], typer.Option(help="NAME or NAME@LAYER; can be given several times.")],
    layer: Annotated[list[str], typer.Option(help="Uploaded layer; can be given several times.")],
    checkpoint: Annotated[Path | None, typer.Option(help="Weights; seeded ones without it.")] = None,
    setting: Annotated[str, typer.Option(help="Setting of seeded weights.")] = "tiny",
    own: Annotated[int, typer.Option(help="Scans of the attacker's own.", min=2)] = 60,
    victims: Annotated[int, typer.Option(help="Victims of each group and seed.", min=1)] = 10,
    kitti: Annotated[Path | None, typer.Option(help="Folder of KITTI, for real victims too.")] = None,
    seed: Annotated[list[int] | None, typer.Option(help="Of drives, attacks and guards; several.", min=0)] = None,
    seconds: Annotated[float, typer.Option(help="Budget of an attack's training.")] = 36_000.0,
    steps: Annotated[int, typer.Option(help="Budget of an attack's steps.")] = 100_000,
    set_: Annotated[list[str] | None, typer.Option("--set", help="ATTACK.KEY=VALUE")] = None,
    features: Annotated[str, typer.Option(help="real, or random: the victims' features.")] = "real",
    codec: Annotated[str, typer.Option(help="Name of the codec.")] = "float16",
    guard: Annotated[str, typer.Option(help="NAME[,KEY=VALUE...]")] = "none",
    clouds: Annotated[Path | None, typer.Option(help="Write each group's first scene to this file (npz).")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the numbers to this file.")] = None,
    threads: Annotated[int, typer.Option(help="Threads of torch.", min=1)] = 1,
) -> None:
    """Measure attacks on simulated and real scans."""
    torch.set_num_threads(threads)
    console = Console()
    threat = Threat(
        name="white box with own scans",
        gives=(Ability.WHITE_BOX, Ability.PAIRED),
        origin="other drives of the same simulated city and sensor",
        budget=Budget(steps=steps, seconds=seconds, scenes=own),
    )
    results: list[Measured] = []
    try:
        if features not in ("real", "random"):
            raise ConfigError(f"--features: expected real or random, got {features!r}")
        plan = Plan(
            names=tuple(attack),
            layers=tuple(layer),
            settings=settings_from(set_ or []),
            threat=threat,
            codec=codec,
            guard=guard,
            is_random=features == "random",
        )
        if checkpoint is None:
            network, weights = detectors.build("second_iou", setting, seed=0), "seeded, untrained weights (seed 0)"
        else:
            network, weights = checkpoints.open_checkpoint(checkpoint), f"weights of {checkpoint.name}"
        if not isinstance(network, AnchorDetector):
            raise ConfigError(f"--checkpoint: expected a detector with SECOND's backbone, got {network.name}")
        for number in seed or [0]:
            scans = read_scans(own, victims, kitti, number, CutGeometry.of(network.config.voxels, "conv_out"))
            results += run(plan, scans, network, number)
            _write(json_file, clouds, results, weights)
    except UpcycleError as error:
        console.print(f"[red]{error}")
        raise typer.Exit(1) from error
    for table in tables_of(results, f"{weights}, guard {guard}, seeds {seed or [0]}"):
        console.print(table)


def _write(json_file: Path | None, clouds: Path | None, results: Sequence[Measured], weights: str) -> None:
    """What is there after each seed."""
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps({"weights": weights, **report_of(results)}, indent=1) + "\n")
    if clouds is not None:
        named = {
            f"{result.seed}|{group}|{result.layer}|{TRUTH if result.attack == RANDOM else result.attack}": points
            for result in results
            for group, points in result.clouds.items()
        }
        np.savez_compressed(clouds, **named)  # type: ignore[arg-type]


if __name__ == "__main__":
    typer.run(main)
