"""`upcycle evaluate --run FILE`: a checkpoint on the held-out frames that a run file names."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import torch
from rich.console import Console
from rich.progress import Progress

from server.evaluation.bootstrap import BootstrapConfig
from server.evaluation.evaluator import Change
from server.evaluation.report import write_report
from server.evaluation.run_evaluation import RunEvaluation, RunEvaluationConfig, evaluate_run
from server.training.atomic_files import write_whole
from server.training.guarding import GuardedScenes
from server.training.processes import Processes, choose_device
from server.training.run_config import RunConfig, load_run
from server.training.run_folder import RunFolder
from server.training.source_config import SourceConfig
from server.training.sources import Source, open_source
from shared_models import guards
from shared_models.checkpoints import open_checkpoint
from shared_models.configuration import to_dict
from shared_models.detector import Detector
from shared_models.detectors.anchor_detector import AnchorDetector
from shared_models.errors import ConfigError, NotFoundError
from shared_models.sparse import create_engine
from upcycle.evaluate import print_report, print_waymo
from upcycle.evaluate_intervals import intervals_of, print_intervals

# What may differ from the run file without naming another trained run.
OF_EVALUATION: Final = (
    "data.evaluation",
    "data.evaluates_on_labelled",
    "evaluation",
    "loop.device",
    "loop.threads",
    "detector.engine",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """Where numbers and page go; None: beside the run's other files."""

    json_file: Path | None = None
    html_file: Path | None = None


def evaluate_from_run(
    file: Path,
    changes: list[str],
    data: Path,
    checkpoint: Path | None,
    outputs: Outputs,
    rounds: int = 0,
    against: Path | None = None,
    guard: str = "none",
) -> None:
    """Evaluate and write JSON and page, by default beside the run's other files.

    changes: of the evaluation's frames, rules or device; a change of anything else names a run trained with it.
    rounds: draws of the frames for intervals; 0 gives none. against: an earlier checkpoint that it is compared with.
    guard: what features go through before, as those that vehicles with it send.

    Raises:
        ConfigError: the run file is wrong or names no frames to evaluate on.
        NotFoundError: no checkpoint is given and the run has made none.
        DeviceError: loop.device is cuda and there is no GPU.
    """
    run = load_run(file, changes)
    if run.data.evaluation is None:
        raise ConfigError(f"{file}: data.evaluation is missing: it says on which frames to evaluate")
    folder = trained_folder(file, changes, data)
    chosen = checkpoint or _last_checkpoint(folder)
    if run.loop.threads:
        torch.set_num_threads(run.loop.threads)
    device = choose_device(run.loop.device, Processes())
    opened = [
        open_checkpoint(path, device, engine=create_engine(run.detector.engine)) for path in (chosen, against) if path
    ]
    source = open_source(run.data.evaluation, data / "cache")
    config = RunEvaluationConfig(overlaps=run.evaluation.overlaps, rules=run.evaluation.rules)
    found, *earlier = (_with_bar(detector, source, config, guard) for detector in opened)
    described = guards.build(guard).described()
    about = {"run_id": folder.run_id, "checkpoint": str(chosen), "dataset": source.config.dataset, "guard": described}
    report = {**about, **found.to_dict()}
    if rounds:
        intervals = intervals_of(found, earlier[0] if earlier else None, BootstrapConfig(rounds=rounds))
        report["bootstrap"] = {"against": str(against) if against else None, **asdict(intervals)}
    stem = output_name(chosen, source.config, described)
    json_file = outputs.json_file or folder.path / "evaluations" / f"{stem}.json"
    html_file = outputs.html_file or folder.path / "evaluations" / f"{stem}.html"
    write_whole(json_file, (json.dumps(report, indent=1) + "\n").encode())
    for overlap, own in found.reports.items():
        print(f"overlaps: {overlap}")
        print_report(own)
    if found.waymo is not None:
        print_waymo(found.waymo)
    if rounds:
        print_intervals(intervals)
    first = next(iter(found.reports.values()))
    heading = title(run, source, chosen, described)
    write_report(html_file, first, found.frames, heading, source.dataset.frame, found.waymo)
    print(f"numbers: {json_file}\npage: {html_file}")


def trained_folder(file: Path, changes: Sequence[str], data: Path) -> RunFolder:
    """The run that was trained with all `changes`, else the one without those that only concern the evaluation."""
    whole = RunFolder.of(data, load_run(file, changes))
    if whole.checkpoints():
        return whole
    return RunFolder.of(data, load_run(file, [change for change in changes if not _is_of_evaluation(change)]))


def _is_of_evaluation(change: str) -> bool:
    key = change.partition("=")[0].strip()
    return any(key == part or key.startswith(f"{part}.") for part in OF_EVALUATION)


def output_name(checkpoint: Path, source: SourceConfig, guard: str = "none") -> str:
    """Names checkpoint, dataset and split; a hash tells other frames, checkpoints of that name and guards apart."""
    whole = json.dumps(
        [str(checkpoint.resolve()), to_dict(source), *([] if guard == "none" else [guard])], sort_keys=True
    )
    digest = hashlib.sha256(whole.encode()).hexdigest()[:8]
    dataset, split = (re.sub(r"[^A-Za-z0-9_.=]+", "-", word)[:60] for word in (source.dataset, source.split))
    return f"{checkpoint.name}-{dataset}-{split}-{digest}"


def title(run: RunConfig, source: Source, checkpoint: Path, guard: str = "none") -> str:
    """Names detector, data and guard; simulated data are called so by their dataset's name."""
    kind = "SIMULATED scans" if source.config.dataset.startswith("simulated") else "scans"
    behind = "" if guard == "none" else f", behind the guard {guard}"
    return f"{run.name} ({checkpoint.name}) on {len(source.frame_ids)} {kind} of {source.config.dataset}{behind}"


def _last_checkpoint(folder: RunFolder) -> Path:
    made = folder.checkpoints()
    if not made:
        raise NotFoundError(
            f"{folder.path}: the run has no checkpoint yet; train it (`upcycle train --run FILE`), or give --checkpoint"
        )
    return made[-1]


def _with_bar(detector: Detector, source: Source, config: RunEvaluationConfig, guard: str) -> RunEvaluation:
    change = _behind(guard, detector)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("detecting", total=len(source.frame_ids))
        return evaluate_run(
            detector,
            source.dataset,
            source.frame_ids,
            source.config.renamed,
            config,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
            change=change,
        )


def _behind(guard: str, detector: Detector) -> Change | None:
    guarded = GuardedScenes(guard)
    if not guarded.is_changing:
        return None
    if not isinstance(detector, AnchorDetector):
        raise ConfigError(f"--guard {guard}: {type(detector).__name__} sends no features that a guard could change")
    return lambda features, frame_id: guarded.apply(features, detector, frame_id)
