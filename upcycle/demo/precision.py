"""AP of several checkpoints on the same held-out frames, with intervals and differences, as `upcycle evaluate` does."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from server.evaluation import kitti
from server.evaluation.bootstrap import BootstrapConfig, FrameScores, percentile_interval
from server.evaluation.run_evaluation import RunEvaluation, RunEvaluationConfig, evaluate_run
from server.training.source_config import SourceConfig
from server.training.sources import open_source
from shared_models.checkpoints import open_checkpoint
from upcycle.demo.stages import Say

WORKERS: Final = 2
BEFORE, AFTER, CONTROL = "before", "after", "control"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of AP of moderate objects."""

    metric: str
    overlap: str

    def key(self, class_name: str) -> str:
        """As `RunEvaluation.numbers` names it."""
        return f"ap_all/{self.overlap}/{class_name.casefold()}/{self.metric}/moderate"


KINDS: Final = (
    Kind(metric="3d", overlap="loose"),
    Kind(metric="bev", overlap="strict"),
    Kind(metric="3d", overlap="strict"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """evaluations: of each checkpoint. numbers: of all of them, ready for JSON."""

    evaluations: Mapping[str, RunEvaluation]
    numbers: dict[str, Any]


def measure(checkpoints: Mapping[str, Path], dataset: str, cache: Path, rounds: int, say: Say) -> Precision:
    """Evaluate each checkpoint, one thread each.

    checkpoints: "before", "after" and, where it was trained, "control".
    """
    source = open_source(SourceConfig(dataset=dataset, in_memory=0), cache)
    done, lock = dict.fromkeys(checkpoints, 0), threading.Lock()

    def evaluate(name: str) -> RunEvaluation:
        def count(frames: int, total: int) -> None:
            with lock:
                done[name] = frames
                say(f"{sum(done.values())} of {total * len(done)} scans")

        detector = open_checkpoint(checkpoints[name])
        return evaluate_run(detector, source.dataset, source.frame_ids, {}, RunEvaluationConfig(), count)

    with _on_one_thread(), ThreadPoolExecutor(WORKERS) as pool:
        found = dict(zip(checkpoints, pool.map(evaluate, checkpoints), strict=True))
    class_names = open_checkpoint(checkpoints[BEFORE]).class_names
    numbers = {
        "dataset": dataset,
        "frames": len(source.frame_ids),
        "rounds": rounds,
        "objects": _objects(found[BEFORE]),
        "warnings": sorted({line for each in found.values() for line in next(iter(each.reports.values())).warnings}),
    }
    return Precision(evaluations=found, numbers=numbers | _numbers(found, class_names, rounds, say))


@contextmanager
def _on_one_thread() -> Iterator[None]:
    """One thread for each checkpoint; what is to be read with care comes with the numbers instead of in the log."""
    threads, level = torch.get_num_threads(), kitti.LOGGER.level
    torch.set_num_threads(1)
    kitti.LOGGER.setLevel(logging.ERROR)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        kitti.LOGGER.setLevel(level)


def _numbers(found: Mapping[str, RunEvaluation], class_names: Sequence[str], rounds: int, say: Say) -> dict[str, Any]:
    """Intervals of each checkpoint's AP, and of the differences, all on the same draws."""
    draws = _draws(found, class_names, rounds, say)
    numbers: dict[str, Any] = {name: {key: _interval(own) for key, own in draws[name].items()} for name in found}
    numbers["gain"] = _difference(draws[BEFORE], draws[AFTER])
    if CONTROL in found:
        numbers["gain_over_control"] = _difference(draws[CONTROL], draws[AFTER])
    return numbers


def _draws(
    found: Mapping[str, RunEvaluation], class_names: Sequence[str], rounds: int, say: Say
) -> dict[str, dict[str, list[float]]]:
    """AP by checkpoint and name: of the scans as they are, then of each draw."""
    frames = len(next(iter(found.values())).frames)
    rng = np.random.default_rng(BootstrapConfig().seed)
    scores = {
        name: {kind: FrameScores(each.frames, class_names, kind.metric, kind.overlap) for kind in KINDS}
        for name, each in found.items()
    }
    drawn: dict[str, dict[str, list[float]]] = {name: {} for name in found}
    for number in range(rounds + 1):
        rows = rng.integers(0, frames, frames) if number else np.arange(frames)
        for name, own in scores.items():
            for kind, score in own.items():
                for class_name, value in score(rows).items():
                    drawn[name].setdefault(kind.key(class_name), []).append(value)
        say(f"intervals, draw {number} of {rounds}")
    return drawn


def _difference(before: Mapping[str, list[float]], after: Mapping[str, list[float]]) -> dict[str, Any]:
    return {
        name: _interval([later - earlier for earlier, later in zip(before[name], values, strict=True)])
        for name, values in after.items()
    }


def _interval(values: Sequence[float]) -> dict[str, float | None]:
    """value of the scans as they are, and the middle 95 % of the draws that have a number; None without any."""
    drawn = [value for value in values[1:] if not math.isnan(value)]
    if math.isnan(values[0]) or not drawn:
        return {"value": None, "low": None, "high": None}
    low, high = percentile_interval(drawn, BootstrapConfig().confidence)
    return {"value": values[0], "low": low, "high": high}


def _objects(found: RunEvaluation) -> dict[str, int]:
    """Moderate objects by class, as AP counts them."""
    report = next(iter(found.reports.values()))
    return {
        score.class_name: score.objects
        for score in report.scores
        if score.band_m is None and score.metric == "3d" and score.difficulty == "moderate"
    }
