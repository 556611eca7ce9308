"""What every log of training runs must do; runs over every name in the table."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from server.repositories import DATABASES
from server.repositories.memory_run_log import MemoryRunLog
from server.repositories.postgres import PostgresDatabase, Writers
from server.repositories.run_log import EvaluationRecord, RunLog, Scalar
from server.repositories.sql_run_log import SqlRunLog
from server.repositories.sqlite import SqliteFile
from shared_models.errors import InvalidValueError, NotFoundError
from tests.run_records import make_run


@pytest.fixture(params=["memory", *sorted(DATABASES)])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunLog]:
    opened: RunLog
    match request.param:
        case "memory":
            opened = MemoryRunLog()
        case "sqlite":
            opened = SqlRunLog(SqliteFile(tmp_path / "catalogue.sqlite", is_every_commit_synced=False))
        case "postgresql":
            url = request.getfixturevalue("postgres").empty_database()
            opened = SqlRunLog(PostgresDatabase(url, is_every_commit_synced=False, writers=Writers.RUN_LOG))
    yield opened
    opened.close()


def points(log: RunLog, run_id: str = "run-1", **wanted: object) -> list[tuple[str, int, float]]:
    return [(each.name, each.step, each.value) for each in log.scalars(run_id, **wanted)]  # type: ignore[arg-type]


def test_run_comes_back_as_it_went_in(log: RunLog) -> None:
    record = make_run(message="hello", seed=-(2**62), created_at_ns=2**62, heartbeat_ns=2**62 + 1)
    assert log.create(record) == record
    assert log.runs() == [record]
    assert log.run("run-1") == record


def test_creation_is_the_first_heartbeat(log: RunLog) -> None:
    assert log.create(make_run(created_at_ns=50)).heartbeat_ns == 50


def test_resuming_keeps_what_is_known_and_doubles_nothing(log: RunLog) -> None:
    log.create(make_run(created_at_ns=10))
    for step in range(5):
        log.add_scalars("run-1", step, {"loss/total": step}, at_ns=20 + step)
    log.update("run-1", at_ns=30, state="failed", step=5, message="killed")
    again = log.create(make_run(created_at_ns=40, step=3))
    assert (again.created_at_ns, again.state, again.step, again.message) == (10, "running", 3, "")
    assert again.heartbeat_ns == 40
    for step in range(3, 6):
        log.add_scalars("run-1", step, {"loss/total": step}, at_ns=50)
    assert points(log) == [("loss/total", step, float(step)) for step in range(6)]
    assert [run.run_id for run in log.runs()] == ["run-1"]


def test_another_run_file_needs_another_id(log: RunLog) -> None:
    first = log.create(make_run())
    with pytest.raises(InvalidValueError, match="another id"):
        log.create(make_run(run_file="steps = 200\n"))
    assert log.runs() == [first]


def test_update_changes_only_what_is_given(log: RunLog) -> None:
    log.create(make_run(heartbeat_ns=1_000))
    log.update("run-1", at_ns=2_000, step=7)
    assert log.run("run-1") == make_run(step=7, heartbeat_ns=2_000)
    log.update("run-1", at_ns=3_000, state="stopped", total_steps=50, message="asked to")
    expected = make_run(step=7, heartbeat_ns=3_000, state="stopped", total_steps=50, message="asked to")
    assert log.run("run-1") == expected


@pytest.mark.parametrize("changed", [{"state": "lost"}, {"step": -1}, {"total_steps": -1}])
def test_wrong_update_is_refused(log: RunLog, changed: dict[str, object]) -> None:
    before = log.create(make_run())
    with pytest.raises(InvalidValueError):
        log.update("run-1", at_ns=9, **changed)  # type: ignore[arg-type]
    assert log.runs() == [before]


def test_heartbeats_never_go_back_and_tell_dead_runs(log: RunLog) -> None:
    log.create(make_run(created_at_ns=0))
    log.heartbeat("run-1", 100 * 10**9)
    log.heartbeat("run-1", 90 * 10**9)
    run = log.run("run-1")
    assert run.heartbeat_ns == 100 * 10**9
    assert not run.is_silent(now_ns=160 * 10**9)
    assert run.is_silent(now_ns=160 * 10**9 + 1)
    assert not replace(run, state="finished").is_silent(now_ns=10**18)
    log.add_scalars("run-1", 0, {"lr": 0.1}, at_ns=170 * 10**9)
    assert log.run("run-1").heartbeat_ns == 170 * 10**9
    log.add_evaluation(EvaluationRecord(run_id="run-1", step=0, report="{}", at_ns=180 * 10**9))
    assert log.run("run-1").heartbeat_ns == 180 * 10**9


def test_scalars_by_name_then_step(log: RunLog) -> None:
    log.create(make_run())
    log.create(make_run("other"))
    for step in (10, 2, 1):
        log.add_scalars("run-1", step, {"loss": step / 10, "lr": step}, at_ns=step)
    log.add_scalars("other", 1, {"loss": 99}, at_ns=1)
    assert points(log) == [("loss", 1, 0.1), ("loss", 2, 0.2), ("loss", 10, 1.0), ("lr", 1, 1), ("lr", 2, 2),
                           ("lr", 10, 10)]  # fmt: skip
    assert points(log, names=["lr"], after_step=1) == [("lr", 2, 2), ("lr", 10, 10)]
    assert points(log, names=[]) == []
    assert log.scalars("run-1")[0] == Scalar(run_id="run-1", step=1, name="loss", value=0.1, at_ns=1)


def test_all_scalars_of_a_call_or_none(log: RunLog) -> None:
    log.create(make_run())
    batch = [Scalar(run_id=run, step=1, name="loss", value=1.0, at_ns=1) for run in ("run-1", "unknown")]
    with pytest.raises(NotFoundError, match="unknown"):
        log.write_scalars(batch)
    assert points(log) == []
    log.write_scalars([])


def test_numbers_that_are_none(log: RunLog) -> None:
    log.create(make_run())
    log.add_scalars("run-1", 1, {"a": math.nan, "b": math.inf, "c": -math.inf}, at_ns=1)
    values = [value for _, _, value in points(log)]
    assert math.isnan(values[0])
    assert values[1:] == [math.inf, -math.inf]


@pytest.mark.parametrize(("count", "most"), [(1, 2), (2, 2), (5, 2), (7, 7), (8, 7), (1_000, 30), (1_000, 999)])
def test_thinning_keeps_first_and_last_and_spreads_evenly(log: RunLog, count: int, most: int) -> None:
    log.create(make_run())
    log.write_scalars([Scalar(run_id="run-1", step=3 * i, name="x", value=i, at_ns=0) for i in range(count)])
    log.add_scalars("run-1", 5, {"y": 1.0}, at_ns=0)
    kept = [step // 3 for _, step, _ in points(log, names=["x"], max_points=most)]
    assert len(kept) == min(count, most)
    assert (kept[0], kept[-1]) == (0, count - 1)
    gaps = [after - before for before, after in pairwise(kept)]
    assert not gaps or max(gaps) - min(gaps) <= 1
    assert ("y", 5, 1.0) in points(log, max_points=most)


def test_thinning_to_less_than_two_is_refused(log: RunLog) -> None:
    log.create(make_run())
    with pytest.raises(InvalidValueError, match="max_points"):
        log.scalars("run-1", max_points=1)


def test_run_by_prefix(log: RunLog) -> None:
    for run_id in ("b_1", "a", "ab", "abc"):
        log.create(make_run(run_id))
    assert [run.run_id for run in log.runs()] == ["b_1", "a", "ab", "abc"]
    assert log.run("ab").run_id == "ab"
    assert log.run("b").run_id == "b_1"
    for wrong in ("", "_", "%", "x", "B"):
        with pytest.raises(NotFoundError, match="no run"):
            log.run(wrong)
    log.create(make_run("b_2"))
    with pytest.raises(NotFoundError, match="several runs begin with 'b_', e.g. b_1 and b_2"):
        log.run("b_")
    assert [run.run_id for run in log.starting_with("a", 2)] == ["a", "ab"]


def test_evaluations_by_step(log: RunLog) -> None:
    log.create(make_run())
    for step, report in ((20, '{"ap": 2}'), (10, '{"ap": 1}'), (20, '{"ap": 3}')):
        log.add_evaluation(EvaluationRecord(run_id="run-1", step=step, report=report, at_ns=step))
    assert [(each.step, each.report) for each in log.evaluations("run-1")] == [(10, '{"ap": 1}'), (20, '{"ap": 3}')]


def test_runs_that_nobody_created(log: RunLog) -> None:
    evaluation = EvaluationRecord(run_id="x", step=0, report="{}", at_ns=0)
    calls = (
        lambda: log.update("x", at_ns=0),
        lambda: log.add_scalars("x", 0, {"a": 1}, 0),
        lambda: log.scalars("x"),
        lambda: log.add_evaluation(evaluation),
        lambda: log.evaluations("x"),
    )
    for call in calls:
        with pytest.raises(NotFoundError, match="no run 'x'"):
            call()


def test_threads_may_write_at_once(log: RunLog) -> None:
    log.create(make_run())
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda n: log.add_scalars("run-1", n % 50, {"loss": n % 50}, at_ns=n), range(200)))
    assert points(log) == [("loss", step, float(step)) for step in range(50)]
    assert log.run("run-1").heartbeat_ns == 1_000
