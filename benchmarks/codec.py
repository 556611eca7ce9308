"""Bytes per frame and encode/decode time of each codec on real scans, beside the raw points.

    python -m benchmarks.codec --points DIR [--json FILE] [--setting kitti|small|tiny] [--detector second_iou|pv_rcnn]

`DIR` holds scans as float32 `.bin` files, four numbers a point: x, y, z in metres and intensity.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
import zstandard
from rich.console import Console
from rich.progress import track
from rich.table import Table

from shared_models import checkpoints, codecs, detectors
from shared_models.errors import DatasetError, UpcycleError
from shared_models.records import SceneFeatures


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What one codec made of one frame; times are medians of the repeats, in milliseconds."""

    frame: str
    codec: str
    payload_bytes: int
    encode_ms: float
    decode_ms: float
    largest_error: float


def median_ms(action: Callable[[], Any], repeats: int) -> float:
    """Median milliseconds of `repeats` calls, after one that warms up."""
    action()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e3


def read_points(path: Path) -> torch.Tensor:
    """(N, 4) float32 [x y z intensity], metres, LiDAR frame.

    Raises:
        DatasetError: the file's length is no multiple of 16 bytes.
    """
    raw = path.read_bytes()
    if len(raw) % 16:
        raise DatasetError(f"{path}: expected a multiple of 16 bytes (x y z intensity as float32), got {len(raw)}")
    return torch.from_numpy(np.frombuffer(raw, "<f4").reshape(-1, 4).copy())


def measure(frame: str, features: SceneFeatures, repeats: int) -> Iterator[Measurement]:
    """Every codec on the features of one frame."""
    for name in codecs.CODECS:
        payload = codecs.encode(features, name)
        yield Measurement(
            frame=frame,
            codec=name,
            payload_bytes=len(payload),
            encode_ms=median_ms(partial(codecs.encode, features, name), repeats),
            decode_ms=median_ms(partial(codecs.decode, payload), repeats),
            largest_error=largest_error(features, codecs.decode(payload)),
        )


def largest_error(before: SceneFeatures, after: SceneFeatures) -> float:
    """Largest absolute difference of any feature."""
    pairs = [(before.grid.features, after.grid.features)]
    if before.keypoints is not None and after.keypoints is not None:
        pairs.append((before.keypoints.features, after.keypoints.features))
    return max((float((a - b).abs().max()) for a, b in pairs if a.numel()), default=0.0)


def summary(values: Sequence[float]) -> dict[str, float]:
    """Median over the frames, and the spread between them as 10th and 90th percentile."""
    low, high = np.percentile(values, [10, 90])
    return {"median": statistics.median(values), "p10": float(low), "p90": float(high)}


def summarise(measurements: list[Measurement]) -> dict[str, dict[str, Any]]:
    """Codec -> summaries over the frames."""
    found: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(m.codec for m in measurements):
        chosen = [m for m in measurements if m.codec == name]
        found[name] = {
            "bytes_per_frame": summary([m.payload_bytes for m in chosen]),
            "encode_ms": summary([m.encode_ms for m in chosen]),
            "decode_ms": summary([m.decode_ms for m in chosen]),
            "largest_error": max(m.largest_error for m in chosen),
        }
    return found


def table_of(report: dict[str, Any]) -> Table:
    """The report for people."""
    table = Table(title=f"{report['frames']} frames, {report['detector']} {report['setting']}, {report['weights']}")
    for heading in ("", "KB", "of raw", "encode ms (p10-p90)", "decode ms (p10-p90)", "error"):
        table.add_column(heading, justify="right" if heading else "left")
    raw = report["raw_points_bytes"]["median"]
    for name, key in (("raw points", "raw_points_bytes"), ("raw, zstd 3", "raw_points_zstd_bytes")):
        value = report[key]["median"]
        table.add_row(name, f"{value / 1e3:.0f}", f"{value / raw:.2f}", "", "", "")
    for name, found in report["codecs"].items():
        size = found["bytes_per_frame"]["median"]
        times = [f"{t['median']:.1f} ({t['p10']:.1f}-{t['p90']:.1f})" for t in (found["encode_ms"], found["decode_ms"])]
        table.add_row(name, f"{size / 1e3:.0f}", f"{size / raw:.2f}", *times, f"{found['largest_error']:.2g}")
    return table


def run(paths: list[Path], detector: Any, repeats: int) -> dict[str, Any]:
    """Numbers of all frames, and their summaries."""
    measurements: list[Measurement] = []
    raw_bytes, zstd_bytes, cells = [], [], []
    for path in track(paths, description="codecs", transient=True):
        points = read_points(path)
        with torch.no_grad():
            features = detector.extract(points)
        measurements += measure(path.stem, features, repeats)
        raw = points.numpy().tobytes()
        raw_bytes.append(len(raw))
        zstd_bytes.append(len(zstandard.ZstdCompressor(level=3).compress(raw)))
        cells.append(len(features.grid))
    return {
        "frames": len(paths),
        "threads": torch.get_num_threads(),
        "active_cells": summary(cells),
        "raw_points_bytes": summary(raw_bytes),
        "raw_points_zstd_bytes": summary(zstd_bytes),
        "codecs": summarise(measurements),
        "measurements": [asdict(m) for m in measurements],
    }


def main(
    points: Annotated[Path, typer.Option(help="Folder of .bin scans.", exists=True, file_okay=False)],
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the numbers to this file.")] = None,
    detector: Annotated[str, typer.Option(help="Name of the detector.")] = "second_iou",
    setting: Annotated[str | None, typer.Option(help="Its setting; kitti, or the checkpoint's.")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="Weights; seeded ones without it.")] = None,
    frames: Annotated[int, typer.Option(help="Scans at most, 0 for all.", min=0)] = 0,
    repeats: Annotated[int, typer.Option(help="Timed calls per frame and codec.", min=1)] = 7,
    threads: Annotated[int, typer.Option(help="Threads of torch.", min=1)] = 1,
) -> None:
    """Measure every codec on real scans."""
    torch.set_num_threads(threads)
    console = Console()
    try:
        paths = sorted(points.glob("*.bin"))[: frames or None]
        if not paths:
            raise DatasetError(f"{points}: no .bin files in this folder")
        if checkpoint is None:
            setting = setting or "kitti"
            network, weights = detectors.build(detector, setting, seed=0), "seeded, untrained weights (seed 0)"
        else:
            network, weights = checkpoints.open_checkpoint(checkpoint, setting=setting), f"weights of {checkpoint.name}"
        about = {"detector": network.name, "setting": setting or "of the checkpoint", "weights": weights}
        report = {**about, **run(paths, network, repeats)}
    except UpcycleError as error:
        console.print(f"[red]{error}")
        raise typer.Exit(1) from error
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(report, indent=2) + "\n")
    console.print(table_of(report))
    if checkpoint is None:
        console.print("The weights are seeded, not trained: trained ones give other sizes.")


if __name__ == "__main__":
    typer.run(main)
