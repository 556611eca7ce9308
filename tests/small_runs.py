"""Training runs that take seconds: a detector with a map of 16 x 16 cells on made-up frames in KITTI's format."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from server.training.journal import Journal
from server.training.loop import Evaluate, Outcome, TrainingLoop
from server.training.preparation import prepare
from server.training.processes import Processes
from server.training.run_config import RunConfig, changed, merged_tables, parse_run
from server.training.run_folder import RunFolder
from server.training.saved_state import read_state

RANGE_M = [0, -6.4, -3, 12.8, 6.4, 1]
TABLE: Mapping[str, Any] = {
    "name": "small",
    "seed": 5,
    "detector": {
        "name": "second_iou",
        "setting": "tiny",
        "override": {
            "voxels": {"point_range_m": RANGE_M},
            "backbone": {"stage_channels": [8, 8, 16, 16], "out_channels": 16},
            "bev": {"layer_counts": [1, 1], "channels": [16, 16], "upsample_channels": [16, 16]},
            "roi": {"widths": [16, 16]},
        },
    },
    "data": {"labelled": {"dataset": "kitti", "split": "all"}},
    "augmentation": {"order": ["flip", "rotation", "scaling"]},
    "objective": {"proposals": {"pre_max": 200, "post_max": 32}, "rois": {"count": 8, "foreground_iou": 0.3}},
    "loop": {"batch_size": 2, "steps": 6, "precision": "float32", "device": "cpu", "log_every": 1, "workers": 0},
}
NO_DROPOUT = ("detector.override.roi.dropout=0.0",)
CALIBRATION = """\
P2: 700 0 620 0 0 700 187 0 0 0 1 0
R0_rect: 1 0 0 0 1 0 0 0 1
Tr_velo_to_cam: 0 -1 0 0 0 0 -1 0 1 0 0 0
"""
CLASSES = {"Car": (1.6, 1.8, 4.0), "Pedestrian": (1.7, 0.6, 0.8), "Cyclist": (1.7, 0.6, 1.8)}


def write_frames(root: Path, count: int = 4, empty: tuple[int, ...] = (), unlabelled: tuple[int, ...] = (),
                 classes: tuple[str, ...] = ("Car", "Pedestrian", "Cyclist"), points: int = 400) -> Path:  # fmt: skip
    """A folder in KITTI's format of `count` training frames, each with ground and one object of each class.

    empty: frames without a point (and so without an object that can be learned). unlabelled: frames without an object.
    """
    rng = np.random.default_rng(7)
    for number in range(count):
        scan, lines = _frame(rng, classes, points)
        scan = scan[:0] if number in empty else scan
        _write(root / f"training/velodyne/{number:06d}.bin", scan.astype("<f4").tobytes())
        _write(root / f"training/calib/{number:06d}.txt", CALIBRATION.encode())
        text = "" if number in unlabelled else "".join(lines)
        _write(root / f"training/label_2/{number:06d}.txt", text.encode())
    for part in ("train", "val"):
        _write(root / f"ImageSets/{part}.txt", "".join(f"{n:06d}\n" for n in range(count)).encode())
    return root


def _frame(rng: np.random.Generator, classes: tuple[str, ...], points: int) -> tuple[np.ndarray, list[str]]:
    parts, lines = [rng.uniform([1, -6, -1.75, 0], [12, 6, -1.65, 1], (points, 4))], []
    for place, name in enumerate(classes):
        height, width, length = CLASSES[name]
        x, y = 4 + 3 * place + rng.uniform(-0.5, 0.5), rng.uniform(-3, 3)
        half = np.array([length, width, height]) / 2
        offsets = rng.uniform(-0.95, 0.95, (60, 3)) * half
        centre = np.array([x, y, height / 2 - 1.7])
        parts.append(np.concatenate((offsets + centre, rng.random((60, 1))), 1))
        # Camera: x right, y down, z ahead; the box stands at its bottom, heading along the LiDAR's x axis.
        lines.append(f"{name} 0.00 0 0.00 500 150 600 300 {height} {width} {length} {-y:.3f} 1.70 {x:.3f} -1.57\n")
    return np.concatenate(parts), lines


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def small_table(root: Path, *changes: str) -> dict[str, Any]:
    """The run file on the frames in `root`, with `changes` as of --set."""
    table = merged_tables(TABLE, {"data": {"labelled": {"root": str(root)}}})
    return changed(table, changes)


def small_run(root: Path, *changes: str) -> RunConfig:
    """The run of `small_table`."""
    return parse_run(small_table(root, *changes), "test")


def write_run_file(path: Path, root: Path, *changes: str) -> Path:
    """`small_table` as a run file in JSON."""
    path.write_text(json.dumps(small_table(root, *changes)))
    return path


def make_loop(
    run: RunConfig, data: Path, evaluate: Evaluate | None = None, journal: Journal | None = None
) -> TrainingLoop:
    """A loop of one process on the CPU that goes on where a former one stopped."""
    recipe = prepare(run, data, Processes(), torch.device("cpu"))
    loop = TrainingLoop(recipe, RunFolder.of(data, run), journal, evaluate)
    loop.resume()
    return loop


def train_small(run: RunConfig, data: Path) -> tuple[Outcome, dict[str, torch.Tensor]]:
    """Train, and everything that is then in the saved state, by name."""
    loop = make_loop(run, data)
    outcome = loop.run()
    return outcome, saved_tensors(RunFolder.of(data, run).state)


def saved_tensors(folder: Path) -> dict[str, torch.Tensor]:
    """Tensors and numbers of the last saved state, by their path in it."""
    last = sorted(folder.glob("step-*.pt"))[-1]
    return dict(_flat(read_state(last), ""))


def _flat(value: Any, name: str) -> list[tuple[str, torch.Tensor]]:
    if isinstance(value, Mapping):
        return [pair for key, inner in value.items() for pair in _flat(inner, f"{name}/{key}")]
    if isinstance(value, list | tuple):
        return [pair for key, inner in enumerate(value) for pair in _flat(inner, f"{name}/{key}")]
    if isinstance(value, int | float):
        return [(name, torch.tensor(value, dtype=torch.float64))]
    return [(name, value)] if isinstance(value, torch.Tensor) else []


def digest(tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 of names and bits."""
    sha = hashlib.sha256()
    for name in sorted(tensors):
        sha.update(name.encode() + tensors[name].contiguous().numpy().tobytes())
    return sha.hexdigest()
