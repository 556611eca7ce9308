"""Labelled scans per second of the simulator on one core, and a soak over many scenes.

    python -m benchmarks.simulator --json FILE [--frames 60] [--soak 10000]

Worlds are made while the clock runs: a drive's world once for its frames, as a training run would.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from shared_models.datasets.simulated import SimulatedDataset
from shared_models.errors import UpcycleError
from shared_models.records import Frame
from shared_models.simulation.simulator import SimulatedConfig

PROFILES = (("germany", "kitti"), ("usa", "waymo"), ("usa", "lyft"))
WANTED = {"camera": 10.0, "full": 3.0}  # labelled scans per second and core, for the KITTI sensor
FRAMES_PER_DRIVE = 20
SOAK_FRAMES_PER_DRIVE = 4
SOAK_INTERVAL_S = 2.0


def pin_to_one_core() -> None:
    """Embree builds its trees with every core it may use; one core is what the numbers are for."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def measure(domain: str, sensor: str, fov: str, image: bool, frames: int) -> dict[str, Any]:
    """Time of `frames` frames, their worlds included."""
    drives = max(1, -(-frames // FRAMES_PER_DRIVE))
    config = SimulatedConfig(
        domain=domain,
        sensor=sensor,
        fov=fov,
        image=image,
        drives=drives,
        frames_per_drive=min(frames, FRAMES_PER_DRIVE),
    )
    dataset = SimulatedDataset(config)
    points, objects = [], []
    start, used = time.perf_counter(), time.process_time()
    for frame in dataset:
        points.append(len(frame.points))
        objects.append(len(frame.labels) if frame.labels is not None else 0)
    wall_s, cpu_s = time.perf_counter() - start, time.process_time() - used
    return {
        "domain": domain,
        "sensor": sensor,
        "fov": fov,
        "image": image,
        "frames": len(dataset),
        "scans_per_s": len(dataset) / wall_s,
        "scans_per_cpu_s": len(dataset) / cpu_s,
        "points": float(np.mean(points)),
        "objects": float(np.mean(objects)),
    }


def table_of(rows: list[dict[str, Any]]) -> Table:
    """The measurements for people."""
    table = Table(title="labelled scans per second, one core")
    for heading in ("domain", "sensor", "field of view", "image", "scans/s", "scans/CPU s", "points", "objects"):
        table.add_column(heading)
    for row in rows:
        numbers = (f"{row['scans_per_s']:.1f}", f"{row['scans_per_cpu_s']:.1f}")
        sizes = (f"{row['points']:.0f}", f"{row['objects']:.1f}")
        table.add_row(row["domain"], row["sensor"], row["fov"], "yes" if row["image"] else "no", *numbers, *sizes)
    return table


def check(frame: Frame) -> list[str]:
    """What is wrong with a frame: boxes that lose their points, objects without rays of their own."""
    labels = frame.labels
    if labels is None or labels.track_ids is None or frame.instance is None:
        return ["no labels"]
    found = []
    for box, track_id in zip(labels.boxes.astype(np.float64), labels.track_ids, strict=True):
        own = frame.points[frame.instance == track_id, :3] - box[:3]
        cosine, sine = np.cos(box[6]), np.sin(box[6])
        along, across = own[:, 0] * cosine + own[:, 1] * sine, own[:, 1] * cosine - own[:, 0] * sine
        outside = np.abs(np.stack([along, across, own[:, 2]], axis=1)) > box[3:6] / 2 + 1e-4
        if not len(own):
            found.append(f"object {track_id} has no points")
        if outside.any():
            found.append(f"object {track_id} has {int(outside.any(axis=1).sum())} points outside its box")
    if not np.isfinite(frame.points).all():
        found.append("points that are no numbers")
    return found


def soak(scenes: int, seed: int) -> dict[str, Any]:
    """`scenes` frames of every domain, sensor and weather; each is checked."""
    weathers = ("clear", "rain", "night")
    kinds = [(domain, sensor, weather) for domain, sensor in PROFILES for weather in weathers]
    drives = -(-scenes // (SOAK_FRAMES_PER_DRIVE * len(kinds)))
    done, objects, problems = 0, 0, []
    for domain, sensor, weather in track(kinds, description="soak", transient=True):
        config = SimulatedConfig(
            domain=domain, sensor=sensor, weather=weather, seed=seed, drives=drives,
            frames_per_drive=SOAK_FRAMES_PER_DRIVE, frame_interval_s=SOAK_INTERVAL_S,
        )  # fmt: skip
        for frame in SimulatedDataset(config):
            problems += [f"{frame.frame_id}: {problem}" for problem in check(frame)]
            done += 1
            objects += len(frame.labels) if frame.labels is not None else 0
    return {"scenes": done, "seed": seed, "objects": objects, "problems": problems}


def main(
    json_file: Annotated[Path, typer.Option("--json", help="Where the numbers are written.")],
    frames: Annotated[int, typer.Option(help="Frames per measurement.", min=1)] = 60,
    image_frames: Annotated[int, typer.Option(help="Frames with camera image.", min=0)] = 5,
    soak_scenes: Annotated[int, typer.Option("--soak", help="Scenes to make and check besides.", min=0)] = 0,
    seed: Annotated[int, typer.Option(help="Seed of the soak.", min=0)] = 1,
) -> None:
    """Measure the simulator."""
    pin_to_one_core()
    console = Console()
    try:
        rows = [measure(*profile, fov, False, frames) for profile in PROFILES for fov in WANTED]
        if image_frames:
            rows.append(measure("germany", "kitti", "camera", True, image_frames))
        report: dict[str, Any] = {"wanted": WANTED, "rows": rows}
        if soak_scenes:
            report["soak"] = soak(soak_scenes, seed)
    except UpcycleError as error:
        console.print(f"[red]{error}")
        raise typer.Exit(1) from error
    json_file.write_text(json.dumps(report, indent=2) + "\n")
    console.print(table_of(rows))
    if soak_scenes:
        result = report["soak"]
        console.print(f"soak, seed {seed}: {result['scenes']} scenes, {result['objects']} labelled objects")
        console.print("\n".join(result["problems"][:20]) or "no problems")


if __name__ == "__main__":
    typer.run(main)
