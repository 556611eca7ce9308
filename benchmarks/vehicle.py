"""Time and memory of the vehicle's work on one real scan: voxelise, 3D backbone, encode, hand over.

    python -m benchmarks.vehicle --points FILE [--json FILE] [--setting kitti] [--codec int8] [--threads 2]

`FILE` is a scan as float32, four numbers a point. A full KITTI turn (`velodyne/NAME.bin`) is cut to the camera's view
with the calibration beside it, as KITTI's detectors are used; `--whole` takes it as it is.
"""

from __future__ import annotations

import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.codec import read_points
from shared_models import detectors
from shared_models.datasets import open_dataset
from shared_models.errors import UpcycleError
from shared_models.records import Frame, SceneFeatures
from shared_models.sparse import ConvolutionSpec, Sites, SparseEngine, create_engine
from shared_models.sparse.engine import Plan
from shared_models.sparse.products import rows_times_kernel
from shared_models.sparse.rulebook_engine import RulebookPlan
from vehicle_client.outbox import Outbox
from vehicle_client.pipeline import encode_scene
from vehicle_client.report import peak_memory_bytes

RUNS_PER_BLOCK = 10
STAGES = ("voxelise", "backbone", "encode", "hand over")


class CountingEngine(SparseEngine):
    """The rulebook engine, counting the multiplications and additions that its matrix products need."""

    name = "counting"

    def __init__(self) -> None:
        self._engine = create_engine("rulebook")
        self.operations = 0

    def plan(self, sites: Sites, spec: ConvolutionSpec) -> Plan:
        return self._engine.plan(sites, spec)

    def convolve(self, features: torch.Tensor, weight: torch.Tensor, plan: Plan) -> torch.Tensor:
        assert isinstance(plan, RulebookPlan)
        self.operations += 2 * len(plan.pairs) * weight.shape[0] * weight.shape[4]
        return self._engine.convolve(features, weight, plan)


class Timer:
    """Seconds of each stage, one entry a run."""

    def __init__(self) -> None:
        self.samples: dict[str, list[float]] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time of the block to `name`."""
        started_s = time.perf_counter()
        yield
        self.samples.setdefault(name, []).append(time.perf_counter() - started_s)


def load_frame(path: Path, is_whole: bool) -> Frame:
    """The scan in `path`; a full KITTI turn cut to the camera's view unless `is_whole`."""
    calibration = path.parent.parent / "calib" / f"{path.stem}.txt"
    if path.parent.name == "velodyne" and calibration.is_file() and not is_whole:
        part, root = path.parent.parent.name, path.parent.parent.parent
        return open_dataset("kitti", root).frame(f"{part}-{path.stem}")
    return Frame(frame_id=path.stem, points=read_points(path).numpy())


def run_once(detector: Any, frame: Frame, codec: str, outbox: Outbox, timer: Timer) -> int:
    """One frame from points to the outbox; gives the payload's bytes."""
    points = torch.from_numpy(frame.points)
    with timer.stage("total"):
        with timer.stage("voxelise"):
            voxels = detector.voxelize([points])
        with timer.stage("backbone"):
            stages = detector.stages(voxels)
        with timer.stage("encode"):
            features = SceneFeatures(
                grid=stages.conv_out.scan(0), split_layer=detector.split_layer, backbone_hash=detector.backbone_hash
            )
            scene = encode_scene("benchmark", frame, features, codec)
        with timer.stage("hand over"):
            outbox.put(scene)
    outbox.mark_delivered(scene.manifest.scene_id)
    return len(scene.payload)


def matrix_product_flops(repeats: int = 5, size: int = 1536) -> float:
    """Operations a second of the best of several float32 products, torch's and the engine's, on the threads in use."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    products = (torch.mm, rows_times_kernel)
    best_s = min(_seconds(lambda multiply=multiply: multiply(a, b)) for multiply in products for _ in range(repeats))
    return 2 * size**3 / best_s


def _seconds(action: Callable[[], Any]) -> float:
    started_s = time.perf_counter()
    action()
    return time.perf_counter() - started_s


def count_operations(setting: str, frame: Frame) -> int:
    """Multiplications and additions of the backbone's matrix products on this scan."""
    engine = CountingEngine()
    detector = detectors.build("second_iou", setting, engine=engine)
    detector.stages(detector.voxelize([torch.from_numpy(frame.points)]))  # type: ignore[operator]
    return engine.operations


def measure(frame: Frame, setting: str, codec: str, repeats: int) -> dict[str, Any]:
    """Everything that the report holds."""
    detector: Any = detectors.build("second_iou", setting).requires_grad_(False)  # frozen, as on a vehicle
    timer = Timer()
    with torch.inference_mode(), tempfile.TemporaryDirectory() as folder, Outbox(Path(folder)) as outbox:
        payload_bytes = [run_once(detector, frame, codec, outbox, Timer()) for _ in range(3)][-1]
        speeds = []
        for number in range(repeats):
            if number % RUNS_PER_BLOCK == 0:  # now and then, because the machine's speed drifts
                speeds.append(matrix_product_flops())
                run_once(detector, frame, codec, outbox, Timer())
            run_once(detector, frame, codec, outbox, timer)
        peak_bytes = peak_memory_bytes()
        operations = count_operations(setting, frame)
    bound_s = operations / max(speeds)
    backbone_s = statistics.median(timer.samples["backbone"])
    return {
        "detector": f"second_iou, setting {setting}, seeded untrained weights",
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}",
        "points": len(frame.points),
        "cells": payload_cells(detector, frame),
        "codec": codec,
        "payload_bytes": payload_bytes,
        "runs": repeats,
        "stages_ms": {name: _summary(values) for name, values in timer.samples.items()},
        "peak_memory_bytes": peak_bytes,
        "backbone_gflop": operations / 1e9,
        "matrix_product_gflops": max(speeds) / 1e9,
        "backbone_bound_ms": bound_s * 1e3,
        "backbone_to_bound": backbone_s / bound_s,
    }


def payload_cells(detector: Any, frame: Frame) -> int:
    """Active cells of the split layer."""
    return len(detector.extract(torch.from_numpy(frame.points)).grid)


def _summary(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {"median": statistics.median(ordered) * 1e3, "min": ordered[0] * 1e3, "max": ordered[-1] * 1e3}


def print_report(report: dict[str, Any]) -> None:
    """The report for people."""
    console = Console()
    console.print(f"{report['detector']}; {report['machine']}", soft_wrap=True)
    console.print(
        f"{report['points']:,} points, {report['cells']:,} cells, "
        f"{report['payload_bytes'] / 1e3:.1f} KB {report['codec']}"
    )
    table = Table("stage")
    for heading in ("median ms", "min", "max"):
        table.add_column(heading, justify="right")
    for stage in (*STAGES, "total"):
        row = report["stages_ms"][stage]
        table.add_row(stage, *(f"{row[key]:.1f}" for key in ("median", "min", "max")))
    console.print(table)
    console.print(
        f"backbone: {report['backbone_gflop']:.2f} GFLOP; matrix products run at "
        f"{report['matrix_product_gflops']:.0f} GFLOP/s here, so the bound is {report['backbone_bound_ms']:.1f} ms; "
        f"the backbone takes {report['backbone_to_bound']:.2f} times that",
        soft_wrap=True,
    )
    console.print(f"peak memory of the process: {report['peak_memory_bytes'] / 1e6:.0f} MB")


def main(
    points: Annotated[Path, typer.Option(help="A scan, float32 x y z intensity.")],
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the report to this file.")] = None,
    setting: Annotated[str, typer.Option(help="kitti, small or tiny.")] = "kitti",
    codec: Annotated[str, typer.Option(help="Codec of the payload.")] = "int8",
    threads: Annotated[int, typer.Option(help="Threads; 0 is torch's own choice.")] = 0,
    runs: Annotated[int, typer.Option(min=1, help="Measured runs.")] = 30,
    whole: Annotated[bool, typer.Option("--whole", help="Do not cut a full turn to the camera's view.")] = False,
) -> None:
    """Time the vehicle's work on one scan."""
    if threads:
        torch.set_num_threads(threads)
    try:
        report = measure(load_frame(points, whole), setting, codec, runs)
    except UpcycleError as error:
        typer.echo(f"benchmarks.vehicle: {error}", err=True)
        raise typer.Exit(2) from error
    print_report(report)
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
