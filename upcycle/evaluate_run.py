"""`upcycle evaluate --run FILE`: a checkpoint on the held-out frames that a run file names."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from server.evaluation.report import write_report
from server.evaluation.run_evaluation import RunEvaluation, RunEvaluationConfig, evaluate_run
from server.training.atomic_files import write_whole
from server.training.run_config import RunConfig, load_run
from server.training.run_folder import RunFolder
from server.training.sources import Source, open_source
from shared_models.checkpoints import open_checkpoint
from shared_models.detector import Detector
from shared_models.errors import ConfigError, NotFoundError
from upcycle.evaluate import print_report


def evaluate_from_run(
    file: Path,
    changes: list[str],
    data: Path,
    checkpoint: Path | None,
    json_file: Path | None,
    html_file: Path | None,
) -> None:
    """Evaluate and write JSON and page, by default beside the run's other files.

    Raises:
        ConfigError: the run file is wrong or names no frames to evaluate on.
        NotFoundError: no checkpoint is given and the run has made none.
    """
    run = load_run(file, changes)
    if run.data.evaluation is None:
        raise ConfigError(f"{file}: data.evaluation is missing: it says on which frames to evaluate")
    folder = RunFolder.of(data, run)
    chosen = checkpoint or _last_checkpoint(folder)
    detector = open_checkpoint(chosen, device="cuda" if run.loop.device == "cuda" else "cpu")
    source = open_source(run.data.evaluation, data / "cache")
    found = _with_bar(detector, source, RunEvaluationConfig(overlaps=run.evaluation.overlaps))
    report = {"run_id": folder.run_id, "checkpoint": str(chosen), "dataset": source.config.dataset, **found.to_dict()}
    stem = folder.path / "evaluations" / f"{chosen.name}-{source.config.split}"
    json_file, html_file = json_file or stem.with_suffix(".json"), html_file or stem.with_suffix(".html")
    write_whole(json_file, (json.dumps(report, indent=1) + "\n").encode())
    for overlap, own in found.reports.items():
        print(f"overlaps: {overlap}")
        print_report(own)
    first = next(iter(found.reports.values()))
    write_report(html_file, first, found.frames, title(run, source, chosen), source.dataset.frame)
    print(f"numbers: {json_file}\npage: {html_file}")


def title(run: RunConfig, source: Source, checkpoint: Path) -> str:
    """Names detector and data; simulated data are called so by their dataset's name."""
    kind = "SIMULATED scans" if source.config.dataset.startswith("simulated") else "scans"
    return f"{run.name} ({checkpoint.name}) on {len(source.frame_ids)} {kind} of {source.config.dataset}"


def _last_checkpoint(folder: RunFolder) -> Path:
    made = folder.checkpoints()
    if not made:
        raise NotFoundError(
            f"{folder.path}: the run has no checkpoint yet; train it (`upcycle train --run FILE`), or give --checkpoint"
        )
    return made[-1]


def _with_bar(detector: Detector, source: Source, config: RunEvaluationConfig) -> RunEvaluation:
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("detecting", total=len(source.frame_ids))
        return evaluate_run(
            detector,
            source.dataset,
            source.frame_ids,
            source.config.renamed,
            config,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
