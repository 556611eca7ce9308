"""Training samples a second from stored features against the same step from raw points, in one run.

    python -m benchmarks.ssl --json FILE [--setting tiny] [--detector second_iou] [--batch 4] [--threads 2]

Scans are SIMULATED. Three steps of the same batch with the same labels, interleaved: "raw" trains everything from the
points; "raw, frozen" runs the frozen vehicle part on the points first; "stored" decodes features as vehicles sent them.
Memory is what a fresh process needs more for each. Linux only.
"""

from __future__ import annotations

import gc
import json
import multiprocessing
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

from server.training import objectives
from server.training.frozen import freeze_vehicle_part, train_server_part
from server.training.labelled_data import LabelledDataConfig, labelled_scan
from server.training.precision import autocast, resolve
from shared_models import codecs, detectors
from shared_models.datasets import open_dataset
from shared_models.detectors.batch_input import BatchInput

WAYS = ("raw", "raw, frozen", "stored")
WANTED_RATIO = 3.0


class Steps:
    """One batch, ready to be learned from in each of the ways."""

    def __init__(self, detector: str, setting: str, batch: int, codec: str, precision: str) -> None:
        dataset = open_dataset(f"simulated,drives={batch},frames_per_drive=1,seed=3")
        self.detector: Any = detectors.build(detector, setting, seed=1)
        config = LabelledDataConfig(
            class_names=self.detector.class_names, range_m=self.detector.config.voxels.point_range_m
        )
        scans = [labelled_scan(frame, config) for frame in dataset]
        self.points = [torch.from_numpy(scan.points) for scan in scans]
        self.truths = [scan.truth for scan in scans]
        with torch.inference_mode():
            self.payloads = [codecs.encode(self.detector.extract(points), codec) for points in self.points]
        self.objective = objectives.create(detector)
        self.precision = resolve(precision, torch.device("cpu"))
        self.decode_s: list[float] = []

    def run(self, way: str) -> float:
        """Seconds of one step, forward and backward; without the optimiser, which costs the same everywhere."""
        self.detector.requires_grad_(True)
        self.detector.train()
        if way != "raw":
            freeze_vehicle_part(self.detector)
            train_server_part(self.detector)
        self.detector.zero_grad(set_to_none=True)
        started_s = time.perf_counter()
        with autocast(self.precision, torch.device("cpu")):
            batch = self._stored() if way == "stored" else self.detector.extract_batch(self.points)
            rngs = [np.random.default_rng(number) for number in range(len(self.truths))]
            losses = self.objective.loss(self.detector, batch, self.truths, rngs)
        losses.total.backward()
        return time.perf_counter() - started_s

    def _stored(self) -> BatchInput:
        started_s = time.perf_counter()
        scenes = [codecs.decode(payload) for payload in self.payloads]
        self.decode_s.append(time.perf_counter() - started_s)
        return BatchInput.of(scenes)


def measure(detector: str, setting: str, batch: int, codec: str, precision: str, repeats: int) -> dict[str, Any]:
    """Median seconds of each way, interleaved, and what follows from them."""
    steps = Steps(detector, setting, batch, codec, precision)
    for way in WAYS:
        steps.run(way)
    seconds = {way: [] for way in WAYS}
    for _ in range(repeats):
        for way in WAYS:
            seconds[way].append(steps.run(way))
    medians = {way: statistics.median(found) for way, found in seconds.items()}
    return {
        "detector": detector, "setting": setting, "batch": batch, "codec": codec, "precision": steps.precision,
        "threads": torch.get_num_threads(), "repeats": repeats,
        "step_s": medians, "fastest_s": {way: min(found) for way, found in seconds.items()},
        "samples_per_s": {way: batch / median for way, median in medians.items()},
        "stored_over_raw": medians["raw"] / medians["stored"],
        "stored_over_raw_frozen": medians["raw, frozen"] / medians["stored"],
        "decode_share": statistics.median(steps.decode_s) / medians["stored"],
        "payload_bytes": sum(map(len, steps.payloads)) // batch,
    }  # fmt: skip


def peak_of(way: str, arguments: tuple[str, str, int, str, str]) -> int:
    """Bytes by which two steps of one way raise the memory of a fresh process above what it holds before them."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return int(pool.apply(_peak, (way, arguments)))


def _peak(way: str, arguments: tuple[str, str, int, str, str]) -> int:
    steps = Steps(*arguments)
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak counts from here on
    before = _status_bytes("VmRSS")
    for _ in range(2):
        steps.run(way)
    return _status_bytes("VmHWM") - before


def _status_bytes(name: str) -> int:
    """A field of this process's status that is in kB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(f"{name}:"))) * 1024


def main(
    json_file: Annotated[Path | None, typer.Option("--json", help="Where the numbers are written.")] = None,
    detector: Annotated[str, typer.Option(help="Detector.")] = "second_iou",
    setting: Annotated[str, typer.Option(help="Its setting.")] = "tiny",
    batch: Annotated[int, typer.Option(help="Scans of a step.", min=1)] = 4,
    codec: Annotated[str, typer.Option(help="Codec of the stored features.")] = "float16",
    precision: Annotated[str, typer.Option(help="auto, float32 or bfloat16.")] = "auto",
    repeats: Annotated[int, typer.Option(help="Rounds.", min=1)] = 7,
    threads: Annotated[int, typer.Option(help="Threads; 0 is torch's own choice.", min=0)] = 0,
) -> None:
    """Measure training steps from stored features and from raw points."""
    if threads:
        torch.set_num_threads(threads)
    report = measure(detector, setting, batch, codec, precision, repeats)
    show: Callable[[float], str] = "{:.2f}".format
    report["more_bytes"] = {way: peak_of(way, (detector, setting, batch, codec, precision)) for way in WAYS}
    table = Table(title=f"{detector}, setting {setting}, batch {batch}, {report['precision']}, SIMULATED scans")
    for heading in ("step", "median s", "samples/s", "more MB"):
        table.add_column(heading, justify="right")
    for way in WAYS:
        peak = f"{report['more_bytes'][way] / 1e6:.0f}"
        table.add_row(way, show(report["step_s"][way]), show(report["samples_per_s"][way]), peak)
    Console().print(table)
    ratio, share = report["stored_over_raw"], report["decode_share"]
    print(f"stored is {ratio:.2f} times as fast as raw ({WANTED_RATIO:g} wanted); decoding takes {share:.1%} of it")
    if json_file is not None:
        json_file.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
