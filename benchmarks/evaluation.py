"""Time of KITTI's evaluation on as many frames as KITTI's validation split has.

    python -m benchmarks.evaluation [--golden DIR] [--frames 3769] [--repeats 5] [--threads 2] [--json FILE]

`DIR` holds `label_2.txt` and `detections.txt`: lines of KITTI's text format, each after the number of its frame. Their
frames are repeated until there are enough. Without them, random frames of a similar density are made.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

from server.evaluation.kitti import score
from server.evaluation.kitti_cases import measure
from server.evaluation.kitti_config import KittiEvaluationConfig
from server.evaluation.kitti_folders import read_folders
from server.evaluation.pooled import pool
from shared_models.errors import DatasetError, UpcycleError

PHASES = ("read text files", "pool", "overlaps", "match and score")
Texts = list[tuple[str, str]]  # content of the label file and of the detection file of each frame
SYNTHETIC_FRAMES = 240
LABELS_A_FRAME, FOUND, FALSE_ALARMS = 8.0, 0.8, 2.0  # close to the golden frames' 9 labels and 10 detections
IMAGE_PX, FOCAL_PX = (1242, 375), 720.0
CLASSES = {"Car": (1.5, 1.6, 3.9), "Pedestrian": (1.7, 0.6, 0.8), "Cyclist": (1.7, 0.6, 1.8)}  # height width length


def golden_texts(folder: Path) -> Texts:
    """The frames in the two files of `folder`.

    Raises:
        DatasetError: a file is missing.
    """
    sides = []
    for name in ("label_2.txt", "detections.txt"):
        path = folder / name
        if not path.is_file():
            raise DatasetError(f"{path}: the file is missing; leave --golden out for random frames")
        lines: dict[str, list[str]] = defaultdict(list)
        for line in path.read_text(encoding="utf-8").splitlines():
            frame, _, rest = line.partition(" ")
            lines[frame].append(rest)
        sides.append({frame: "\n".join(found) + "\n" for frame, found in lines.items()})
    labels, detections = sides
    return [(labels.get(frame, ""), detections.get(frame, "")) for frame in sorted({*labels, *detections})]


def synthetic_texts(frames: int, seed: int = 0) -> Texts:
    """Random frames: objects on flat ground before the camera, most of them found, and some false alarms."""
    generator = np.random.default_rng(seed)
    texts = []
    for _ in range(frames):
        objects = [_object(generator) for _ in range(generator.poisson(LABELS_A_FRAME))]
        found = [_moved(generator, o) for o in objects if generator.random() < FOUND]
        found += [_object(generator) for _ in range(generator.poisson(FALSE_ALARMS))]
        labels = [_line(name, values, "0.00 0") for name, values in objects]
        lines = [f"{_line(name, values, '-1 -1')} {generator.random():.4f}" for name, values in found]
        texts.append(("\n".join(labels) + "\n", "\n".join(lines) + "\n"))
    return texts


def _object(generator: np.random.Generator) -> tuple[str, np.ndarray]:
    """Class and [height width length x y z rotation_y] in the camera's frame."""
    name = str(generator.choice(list(CLASSES), p=[0.7, 0.2, 0.1]))
    depth = generator.uniform(6, 60)
    place = (generator.uniform(-0.7, 0.7) * depth, 1.65, depth, generator.uniform(-np.pi, np.pi))
    return name, np.array([*CLASSES[name], *place])


def _moved(generator: np.random.Generator, found: tuple[str, np.ndarray]) -> tuple[str, np.ndarray]:
    name, values = found
    return name, values + generator.normal(0, (0.05, 0.05, 0.1, 0.1, 0.05, 0.1, 0.1))


def _line(name: str, values: np.ndarray, visibility: str) -> str:
    height, width, length, x, y, z, turn = values.tolist()
    half = (width + length) / 4
    left, right = ((x + side * half) / z * FOCAL_PX + IMAGE_PX[0] / 2 for side in (-1, 1))
    top, bottom = ((y - up) / z * FOCAL_PX + IMAGE_PX[1] / 2 for up in (height, 0))
    alpha = turn - np.arctan2(x, z)
    numbers = (alpha, left, top, right, bottom, height, width, length, x, y, z, turn)
    return " ".join((name, visibility, *(f"{number:.2f}" for number in numbers)))


def write_folders(texts: Texts, frames: int, root: Path) -> tuple[Path, Path]:
    """`frames` label and detection files, the frames of `texts` again and again."""
    folders = root / "label_2", root / "detections"
    for side, folder in enumerate(folders):
        folder.mkdir()
        for number in range(frames):
            (folder / f"{number:06d}.txt").write_text(texts[number % len(texts)][side])
    return folders


def run(labels: Path, detections: Path, repeats: int) -> dict[str, Any]:
    """Seconds of each phase, medians of the repeats after one that warms up, and what was evaluated."""
    config = KittiEvaluationConfig()
    times: dict[str, list[float]] = {phase: [] for phase in PHASES}

    def timed(phase: str, action: Callable[..., Any], *arguments: Any) -> Any:
        start = time.perf_counter()
        result = action(*arguments)
        times[phase].append(time.perf_counter() - start)
        return result

    for _ in range(repeats + 1):
        frames = timed("read text files", read_folders, labels, detections)
        objects = timed("pool", pool, frames)
        overlaps = timed("overlaps", measure, objects, config)
        report = timed("match and score", score, objects, overlaps, config)
    phases = {phase: statistics.median(found[1:]) for phase, found in times.items()}
    evaluation_s = [sum(times[phase][n] for phase in PHASES[1:]) for n in range(1, repeats + 1)]
    return {
        "frames": len(frames),
        "labels": len(objects.truth),
        "detections": len(objects.detections),
        "phases_s": phases,
        "evaluation_s": statistics.median(evaluation_s),
        "with_reading_s": statistics.median(
            [total + read for total, read in zip(evaluation_s, times["read text files"][1:], strict=True)]
        ),
        "ap_r40": report.to_dict()["ap_r40"],
    }


def table_of(report: dict[str, Any]) -> Table:
    """The report for people."""
    title = f"{report['frames']:,} frames, {report['labels']:,} labels, {report['detections']:,} detections"
    table = Table("", title=f"{title}; {report['data']}")
    table.add_column("seconds", justify="right")
    for phase, seconds in report["phases_s"].items():
        table.add_row(phase, f"{seconds:.2f}")
    table.add_section()
    table.add_row("evaluation without reading", f"{report['evaluation_s']:.2f}")
    table.add_row("evaluation with reading", f"{report['with_reading_s']:.2f}")
    return table


def main(
    golden: Annotated[Path | None, typer.Option(help="Folder of label_2.txt and detections.txt.")] = None,
    frames: Annotated[int, typer.Option(help="Frames to evaluate.", min=1)] = 3769,
    repeats: Annotated[int, typer.Option(help="Timed rounds, after one that warms up.", min=1)] = 5,
    threads: Annotated[int, typer.Option(help="Threads of torch.", min=1)] = 2,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the numbers to this file.")] = None,
) -> None:
    """Measure KITTI's evaluation."""
    torch.set_num_threads(threads)
    console = Console()
    try:
        texts = synthetic_texts(SYNTHETIC_FRAMES) if golden is None else golden_texts(golden)
        data = "random frames (seed 0)" if golden is None else f"the {len(texts)} frames of {golden.name} repeated"
        with tempfile.TemporaryDirectory() as folder:
            labels, detections = write_folders(texts, frames, Path(folder))
            report = {"data": data, "threads": threads, "repeats": repeats, **run(labels, detections, repeats)}
    except UpcycleError as error:
        console.print(f"[red]{error}")
        raise typer.Exit(1) from error
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(report, indent=2) + "\n")
    console.print(table_of(report))


if __name__ == "__main__":
    typer.run(main)
