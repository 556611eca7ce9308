"""A run log in memory, for tests and trials: gone when the process ends."""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from server.repositories.run_log import (
    EvaluationRecord,
    RunLog,
    RunRecord,
    Scalar,
    check_max_points,
    first_heartbeat_ns,
    resumed,
    unknown_run,
)


class MemoryRunLog(RunLog):
    """Runs, numbers and evaluations in dicts."""

    def __init__(self) -> None:
        self._runs: dict[str, RunRecord] = {}
        self._scalars: dict[tuple[str, str, int], Scalar] = {}
        self._evaluations: dict[tuple[str, int], EvaluationRecord] = {}
        self._lock = threading.RLock()

    def create(self, record: RunRecord) -> RunRecord:
        with self._lock:
            known = self._runs.get(record.run_id)
            first = replace(record, heartbeat_ns=first_heartbeat_ns(record))
            self._runs[record.run_id] = first if known is None else resumed(known, record)
            return self._runs[record.run_id]

    def update(self, run_id: str, *, at_ns: int, **changed: Any) -> None:
        with self._lock:
            given = {name: value for name, value in changed.items() if value is not None}
            self._runs[run_id] = replace(self._known(run_id, at_ns), **given)

    def write_scalars(self, scalars: Sequence[Scalar]) -> None:
        with self._lock:
            alive = [self._known(each.run_id, each.at_ns) for each in scalars]
            self._runs.update({run.run_id: run for run in sorted(alive, key=lambda run: run.heartbeat_ns)})
            self._scalars.update({(each.run_id, each.name, each.step): each for each in scalars})

    def scalars(
        self, run_id: str, names: Collection[str] | None = None, after_step: int = -1, max_points: int | None = None
    ) -> list[Scalar]:
        check_max_points(max_points)
        with self._lock:
            self._known(run_id)
            found = [
                scalar
                for (run, name, step), scalar in sorted(self._scalars.items())
                if run == run_id and step > after_step and (names is None or name in names)
            ]
        curves = [list(curve) for _, curve in groupby(found, key=lambda scalar: scalar.name)]
        return [scalar for curve in curves for scalar in _thinned(curve, max_points)]

    def runs(self) -> list[RunRecord]:
        with self._lock:
            return list(self._runs.values())

    def starting_with(self, prefix: str, limit: int) -> list[RunRecord]:
        with self._lock:
            return [self._runs[run_id] for run_id in sorted(self._runs) if run_id.startswith(prefix)][:limit]

    def add_evaluation(self, evaluation: EvaluationRecord) -> None:
        with self._lock:
            self._runs[evaluation.run_id] = self._known(evaluation.run_id, evaluation.at_ns)
            self._evaluations[evaluation.run_id, evaluation.step] = evaluation

    def evaluations(self, run_id: str) -> list[EvaluationRecord]:
        with self._lock:
            self._known(run_id)
            return [found for (run, _), found in sorted(self._evaluations.items()) if run == run_id]

    def close(self) -> None:
        pass

    def _known(self, run_id: str, at_ns: int = 0) -> RunRecord:
        if run_id not in self._runs:
            raise unknown_run(run_id)
        run = self._runs[run_id]
        return replace(run, heartbeat_ns=max(run.heartbeat_ns, at_ns))


def _thinned(curve: list[Scalar], most: int | None) -> list[Scalar]:
    if most is None or len(curve) <= most:
        return curve
    last, kept = len(curve) - 1, most - 1
    return [each for i, each in enumerate(curve) if i == 0 or i * kept // last > (i - 1) * kept // last]
