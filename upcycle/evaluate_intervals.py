"""Intervals of an evaluation's numbers, and of their difference to an earlier checkpoint's."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from server.evaluation.bootstrap import BootstrapConfig, Interval, bootstrap, bootstrap_difference
from server.evaluation.run_evaluation import RunEvaluation


@dataclass(frozen=True, slots=True, kw_only=True)
class Intervals:
    """All by name of the number. before, difference: empty without an earlier checkpoint."""

    config: BootstrapConfig
    frames: int
    now: dict[str, Interval]
    before: dict[str, Interval]
    difference: dict[str, Interval]


def intervals_of(found: RunEvaluation, earlier: RunEvaluation | None, config: BootstrapConfig) -> Intervals:
    """Bootstrap intervals of `found`, and of what it has gained over `earlier` on the same frames."""
    rules = found.rules
    return Intervals(
        config=config,
        frames=len(found.frames),
        now=bootstrap(found.frames, rules, config),
        before={} if earlier is None else bootstrap(earlier.frames, rules, config),
        difference={} if earlier is None else bootstrap_difference(earlier.frames, found.frames, rules, config),
    )


def print_intervals(intervals: Intervals) -> None:
    """As a table on stdout."""
    config, has_before = intervals.config, bool(intervals.before)
    title = f"all-point AP, {config.confidence:.0%} intervals over {intervals.frames} frames, {config.rounds} draws"
    table = Table(title=title)
    for heading in ("number", "before", "now", "difference") if has_before else ("number", "now"):
        table.add_column(heading, no_wrap=True)
    for name, now in intervals.now.items():
        cells = [_shown(intervals.before.get(name)), _shown(now), _shown(intervals.difference.get(name), "+")]
        table.add_row(name.removeprefix("ap_all/"), *(cells if has_before else [_shown(now)]))
    Console(width=120).print(table)


def _shown(interval: Interval | None, sign: str = "") -> str:
    if interval is None:
        return "–"
    return f"{interval.value:{sign}.1f} [{interval.low:{sign}.1f}, {interval.high:{sign}.1f}]"
