"""The run log in a SQL database, beside the catalogue: a training run writes while a server does."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, case, func, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from server.repositories.database import Database
from server.repositories.run_log import (
    EvaluationRecord,
    RunLog,
    RunRecord,
    RunState,
    Scalar,
    check_max_points,
    first_heartbeat_ns,
    resumed,
    unknown_run,
)
from server.repositories.tables import run_evaluations, run_scalars, runs

_COLUMNS = [runs.c[each.name] for each in fields(RunRecord)]


class SqlRunLog(RunLog):
    """Runs in `database`, which belongs to the log from then on."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def create(self, record: RunRecord) -> RunRecord:
        with self.database.transaction(is_writing=True) as connection:
            row = connection.execute(select(*_COLUMNS).where(runs.c.run_id == record.run_id)).one_or_none()
            values = _values(record) | {"heartbeat_ns": first_heartbeat_ns(record)}
            if row is None:
                connection.execute(insert(runs).values(values))
                return RunRecord(**values)
            again = resumed(_record(row), record)
            connection.execute(update(runs).where(runs.c.run_id == record.run_id).values(_values(again)))
            return again

    def update(
        self,
        run_id: str,
        *,
        at_ns: int,
        state: RunState | None = None,
        step: int | None = None,
        total_steps: int | None = None,
        message: str | None = None,
    ) -> None:
        given = {"state": state, "step": step, "total_steps": total_steps, "message": message}
        changed = {name: value for name, value in given.items() if value is not None}
        with self.database.transaction(is_writing=True) as connection:
            row = connection.execute(select(*_COLUMNS).where(runs.c.run_id == run_id)).one_or_none()
            if row is None:
                raise unknown_run(run_id)
            RunRecord(**{**row._asdict(), **changed})  # checks what is given
            _beat(connection, run_id, at_ns, changed)

    def write_scalars(self, scalars: Sequence[Scalar]) -> None:
        if not scalars:
            return
        alive = {each.run_id: each.at_ns for each in sorted(scalars, key=lambda each: each.at_ns)}
        with self.database.transaction(is_writing=True) as connection:
            numbers = {run_id: _beat(connection, run_id, at_ns) for run_id, at_ns in alive.items()}
            rows = [
                {"run": numbers[s.run_id], "name": s.name, "step": s.step, "value": s.value, "at_ns": s.at_ns}
                for s in scalars
            ]
            query = _insert_for(connection)(run_scalars)
            new = {"value": query.excluded.value, "at_ns": query.excluded.at_ns}
            connection.execute(query.on_conflict_do_update(index_elements=["run", "name", "step"], set_=new), rows)

    def scalars(
        self, run_id: str, names: Collection[str] | None = None, after_step: int = -1, max_points: int | None = None
    ) -> list[Scalar]:
        check_max_points(max_points)
        table = run_scalars.c
        query = select(table.name, table.step, table.value, table.at_ns).where(table.step > after_step)
        query = query if names is None else query.where(table.name.in_(list(names)))
        with self.database.transaction() as connection:
            query = query.where(table.run == _number(connection, run_id))
            if max_points is not None:
                query = _thinned(query, max_points)
            rows = connection.execute(query.order_by("name", "step")).all()
        return [
            Scalar(run_id=run_id, name=name, step=step, value=math.nan if value is None else value, at_ns=at_ns)
            for name, step, value, at_ns in rows
        ]

    def runs(self) -> list[RunRecord]:
        return self._records(select(*_COLUMNS).order_by(runs.c.sequence))

    def starting_with(self, prefix: str, limit: int) -> list[RunRecord]:
        # Not LIKE, in which % and _ mean something; run ids are compared character by character.
        is_match = func.substr(runs.c.run_id, 1, len(prefix)) == prefix
        return self._records(select(*_COLUMNS).where(is_match).order_by(runs.c.run_id).limit(limit))

    def add_evaluation(self, evaluation: EvaluationRecord) -> None:
        with self.database.transaction(is_writing=True) as connection:
            number = _beat(connection, evaluation.run_id, evaluation.at_ns)
            new = {"report": evaluation.report, "at_ns": evaluation.at_ns}
            query = _insert_for(connection)(run_evaluations).values(run=number, step=evaluation.step, **new)
            connection.execute(query.on_conflict_do_update(index_elements=["run", "step"], set_=new))

    def evaluations(self, run_id: str) -> list[EvaluationRecord]:
        table = run_evaluations.c
        with self.database.transaction() as connection:
            query = select(table.step, table.report, table.at_ns).where(table.run == _number(connection, run_id))
            rows = connection.execute(query.order_by(table.step)).all()
        return [EvaluationRecord(run_id=run_id, **row._asdict()) for row in rows]

    def close(self) -> None:
        self.database.close()

    def _records(self, query: Select[Any]) -> list[RunRecord]:
        with self.database.transaction() as connection:
            return [_record(row) for row in connection.execute(query)]


def _insert_for(connection: Connection) -> Any:
    # Replacing what is there is no part of standard SQL; these two write it alike.
    return (postgresql if connection.dialect.name == "postgresql" else sqlite).insert


def _values(record: RunRecord) -> dict[str, Any]:
    return {each.name: getattr(record, each.name) for each in fields(record)}


def _record(row: Row[Any]) -> RunRecord:
    return RunRecord(**row._asdict())


def _number(connection: Connection, run_id: str) -> int:
    number = connection.execute(select(runs.c.sequence).where(runs.c.run_id == run_id)).scalar()
    if number is None:
        raise unknown_run(run_id)
    return int(number)


def _beat(connection: Connection, run_id: str, at_ns: int, changed: Mapping[str, Any] | None = None) -> int:
    """Change a run, note that it lives, and give its number; the heartbeat never goes back."""
    number = _number(connection, run_id)
    latest: ColumnElement[int] = case((runs.c.heartbeat_ns > at_ns, runs.c.heartbeat_ns), else_=at_ns)
    values = {**(changed or {}), "heartbeat_ns": latest}
    connection.execute(update(runs).where(runs.c.sequence == number).values(values))
    return number


def _thinned(query: Select[Any], most: int) -> Select[Any]:
    """The rows of `query`, at most `most` of each name: where rank * (most - 1) / last passes a whole number."""
    found = query.subquery()
    of_name: Any = func.row_number().over(partition_by=found.c.name, order_by=found.c.step) - 1
    last: Any = func.count().over(partition_by=found.c.name) - 1
    ranked = select(found, of_name.label("rank"), last.label("last")).subquery()
    rank, kept = ranked.c.rank, most - 1
    end: Any = func.nullif(ranked.c.last, 0)  # a database may compute all parts of an "or", whichever comes first
    is_kept = or_(rank == 0, end <= kept, rank * kept // end > (rank - 1) * kept // end)
    return select(ranked.c.name, ranked.c.step, ranked.c.value, ranked.c.at_ns).where(is_kept)
