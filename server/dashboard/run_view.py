"""Training runs as JSON: records, curves of what they logged, curves of their evaluations."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from server.dashboard.numbers import finite, iso_time
from server.repositories.run_log import RunLog, RunRecord

# What the numbers of a KITTI measure stand for, unless the report has "difficulties".
LEVELS = ("easy", "moderate", "hard")
# Parts of a report that are settings and not results.
SETTINGS = ("difficulties", "min_iou")


def describe_runs(log: RunLog, now_ns: int) -> dict[str, Any]:
    """Every run, the newest first."""
    return {"runs": [describe_run(record, now_ns) for record in reversed(log.runs())]}


def describe_run(record: RunRecord, now_ns: int) -> dict[str, Any]:
    """One run without its run file; in state "stopped?" its process has not said for a while that it lives."""
    return {
        "run_id": record.run_id,
        "name": record.name,
        "recipe": record.recipe,
        "seed": record.seed,
        "state": "stopped?" if record.is_silent(now_ns) else record.state,
        "step": record.step,
        "total_steps": record.total_steps,
        "created_at": iso_time(record.created_at_ns),
        "heartbeat_at": iso_time(record.heartbeat_ns),
        "message": record.message,
        "run_file_sha256": record.run_file_sha256,
        "code_version": record.code_version,
        "folder": record.folder,
    }


def describe_scalars(
    log: RunLog, run_id: str, names: Collection[str] | None, after_step: int, max_points: int
) -> dict[str, Any]:
    """Curves by name, each with equally many steps and values; None for values that are NaN or infinite."""
    curves: dict[str, dict[str, list[Any]]] = {}
    for scalar in log.scalars(run_id, names, after_step, max_points):
        curve = curves.setdefault(scalar.name, {"steps": [], "values": []})
        curve["steps"].append(scalar.step)
        curve["values"].append(finite(scalar.value))
    return {"run_id": run_id, "curves": curves}


def describe_evaluations(log: RunLog, run_id: str) -> dict[str, Any]:
    """Curves of every number in the reports, named by paths such as "ap_r40/car/3d/moderate", and the last report."""
    curves: dict[str, dict[str, list[Any]]] = {}
    report: Any = None
    evaluations = log.evaluations(run_id)
    for evaluation in evaluations:
        report = _readable(json.loads(evaluation.report))
        results = {key: value for key, value in report.items() if key not in SETTINGS}
        for name, value in _numbers(results, _levels(report)):
            curve = curves.setdefault(name, {"steps": [], "values": []})
            curve["steps"].append(evaluation.step)
            curve["values"].append(value)
    return {"run_id": run_id, "curves": curves, "report": report, "steps": [each.step for each in evaluations]}


def _numbers(value: Any, levels: Sequence[str], path: tuple[str, ...] = ()) -> Iterator[tuple[str, float | None]]:
    """Numbers of a report with their paths; of lists, those with one number for each of `levels`."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from _numbers(part, levels, (*path, str(key)))
    elif isinstance(value, list) and len(value) == len(levels) and all(map(_is_number, value)):
        for level, part in zip(levels, value, strict=True):
            yield "/".join((*path, level)), part
    elif _is_number(value):
        yield "/".join(path), value


def _levels(report: Any) -> Sequence[str]:
    named = report.get("difficulties")
    is_named = isinstance(named, list) and all(isinstance(each, str) for each in named)
    return named if is_named else LEVELS


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _readable(value: Any) -> Any:
    """`value` with None for NaN and infinity."""
    if isinstance(value, dict):
        return {key: _readable(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_readable(part) for part in value]
    return finite(value) if isinstance(value, float) else value
