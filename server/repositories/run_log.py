"""What a run log does: remember training runs, the numbers that they log, and their evaluations.

log = open_run_log(Path("data"), is_new_allowed=True)
log.create(RunRecord(run_id="...", ...))                     # again after a resume: nothing is doubled
log.add_scalars("...", step, {"loss/total": 1.25}, at_ns)
log.update("...", at_ns=now_ns, step=step)                   # at least every few seconds, or log.heartbeat()
log.update("...", at_ns=now_ns, state="finished")
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, get_args

from shared_models.errors import InvalidValueError, NotFoundError
from shared_models.records import check

RunState = Literal["running", "finished", "failed", "stopped"]
STATES: Final[tuple[str, ...]] = get_args(RunState)
SILENT_AFTER_S: Final = 60.0
_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One training run.

    run_id: unique, printable, without path separators, not beginning with a dot.
    name, recipe: for people; recipe as in the run file.
    created_at_ns: nanoseconds since the epoch.
    state: "running" also while nobody knows that its process died; see `is_silent`.
    run_file: the complete effective configuration, TOML or JSON text. run_file_sha256: of its UTF-8 bytes (hex).
    code_version: of the program. message: why it failed or stopped, or anything else worth a line.
    folder: where its files are.
    step, total_steps: how far it is; 0 for a total that is not known.
    heartbeat_ns: nanoseconds since the epoch, when its process last said that it lives.
    """

    run_id: str
    name: str
    recipe: str
    seed: int
    created_at_ns: int
    state: RunState = "running"
    run_file: str
    run_file_sha256: str
    code_version: str = ""
    message: str = ""
    folder: str = ""
    step: int = 0
    total_steps: int = 0
    heartbeat_ns: int = 0

    def __post_init__(self) -> None:
        for field in ("run_id", "name", "recipe"):
            check.name("RunRecord", field, getattr(self, field))
        if self.run_id.startswith("."):
            raise InvalidValueError(f"RunRecord.run_id: expected no dot at the beginning, got {self.run_id!r}")
        if self.state not in STATES:
            raise InvalidValueError(f"RunRecord.state: expected one of {', '.join(STATES)}, got {self.state!r}")
        for field in ("created_at_ns", "step", "total_steps", "heartbeat_ns"):
            check.count("RunRecord", field, getattr(self, field), _MAX, low=0)
        check.count("RunRecord", "seed", self.seed, _MAX, low=-_MAX)
        actual = hash_run_file(self.run_file)
        if self.run_file_sha256 != actual:
            raise InvalidValueError(
                f"RunRecord.run_file_sha256: expected {actual} (of run_file), got {self.run_file_sha256!r}"
            )

    def is_silent(self, now_ns: int, after_s: float = SILENT_AFTER_S) -> bool:
        """Whether it should be running, but its process has not said so for `after_s` seconds."""
        last_ns = max(self.heartbeat_ns, self.created_at_ns)
        return self.state == "running" and now_ns - last_ns > after_s * 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Scalar:
    """One number that a run logged.

    name: as in TensorBoard, e.g. "loss/total". value: NaN and infinity are kept. at_ns: nanoseconds since the epoch.
    """

    run_id: str
    step: int
    name: str
    value: float
    at_ns: int

    def __post_init__(self) -> None:
        if len(self.name) > 200:
            raise InvalidValueError(f"Scalar.name: expected at most 200 characters, got {len(self.name)}")
        for part in self.name.split("/"):
            check.name("Scalar", "name (between two '/')", part)
        for field in ("step", "at_ns"):
            check.count("Scalar", field, getattr(self, field), _MAX, low=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationRecord:
    """What an evaluation measured at one step. report: JSON text of one object. at_ns: nanoseconds since the epoch."""

    run_id: str
    step: int
    report: str
    at_ns: int

    def __post_init__(self) -> None:
        for field in ("step", "at_ns"):
            check.count("EvaluationRecord", field, getattr(self, field), _MAX, low=0)
        try:
            found = json.loads(self.report)
        except (ValueError, RecursionError) as error:
            raise InvalidValueError(f"EvaluationRecord.report: expected JSON text ({error})") from error
        if not isinstance(found, dict):
            raise InvalidValueError(f"EvaluationRecord.report: expected a JSON object, got {type(found).__name__}")


class RunLog(ABC):
    """Training runs; safe to use from several threads and processes. Each call raises StorageError where it fails.

    Calls that name a run take its whole id and raise NotFoundError where there is no such run.
    """

    @abstractmethod
    def create(self, record: RunRecord) -> RunRecord:
        """Begin a run, or go on with it: what is known under its id stays, but runs again, at `record.step`.

        The heartbeat is `record.heartbeat_ns`, or `record.created_at_ns` where that is later.

        Raises:
            InvalidValueError: the id is taken by a run of another run file.
        """

    @abstractmethod
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
        """Change what is given, and say that the run's process lives."""

    @abstractmethod
    def write_scalars(self, scalars: Sequence[Scalar]) -> None:
        """Remember all of them or none; one of the same run, name and step is replaced. Also a heartbeat."""

    @abstractmethod
    def scalars(
        self, run_id: str, names: Collection[str] | None = None, after_step: int = -1, max_points: int | None = None
    ) -> list[Scalar]:
        """Numbers of a run by name, then step.

        names: only these. after_step: only later steps. max_points: of each name only so many, evenly chosen, the first
            and the last among them; at least 2.
        """

    @abstractmethod
    def runs(self) -> list[RunRecord]:
        """Every run, in the order they were created."""

    @abstractmethod
    def starting_with(self, prefix: str, limit: int) -> list[RunRecord]:
        """At most `limit` runs whose id begins with `prefix`, by id."""

    @abstractmethod
    def add_evaluation(self, evaluation: EvaluationRecord) -> None:
        """Remember an evaluation; one of the same run and step is replaced. Also a heartbeat."""

    @abstractmethod
    def evaluations(self, run_id: str) -> list[EvaluationRecord]:
        """Evaluations of a run, by step."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the database."""

    def heartbeat(self, run_id: str, at_ns: int) -> None:
        """Say that the run's process lives; without it for a minute the run is shown as "stopped?"."""
        self.update(run_id, at_ns=at_ns)

    def add_scalars(self, run_id: str, step: int, values: Mapping[str, float], at_ns: int) -> None:
        """Remember what a run logs at one step, by name."""
        self.write_scalars(
            [Scalar(run_id=run_id, step=step, name=n, value=float(v), at_ns=at_ns) for n, v in values.items()]
        )

    def run(self, prefix: str) -> RunRecord:
        """The run whose id is, or else begins with, `prefix`.

        Raises:
            NotFoundError: no run, or several, have such an id.
        """
        found = self.starting_with(prefix, 2) if prefix else []
        if not found:
            raise NotFoundError(f"no run {prefix!r} is recorded here; `upcycle runs ls` lists the ids")
        if len(found) > 1 and found[0].run_id != prefix:
            raise NotFoundError(
                f"several runs begin with {prefix!r}, e.g. {found[0].run_id} and {found[1].run_id}: give more of the id"
            )
        return found[0]


def hash_run_file(text: str) -> str:
    """SHA-256 (hex) of a run file's text."""
    return hashlib.sha256(text.encode()).hexdigest()


def resumed(known: RunRecord, record: RunRecord) -> RunRecord:
    """What `RunLog.create` makes of `record` where its run is `known` already.

    Raises:
        InvalidValueError: they have different run files.
    """
    if known.run_file_sha256 != record.run_file_sha256:
        raise InvalidValueError(
            f"run {record.run_id}: recorded with run file {known.run_file_sha256[:12]}, this one is "
            f"{record.run_file_sha256[:12]}: give the run another id, or the same run file"
        )
    heartbeat_ns = max(known.heartbeat_ns, first_heartbeat_ns(record))
    return replace(record, created_at_ns=known.created_at_ns, heartbeat_ns=heartbeat_ns)


def first_heartbeat_ns(record: RunRecord) -> int:
    """When the process that gives `record` to `RunLog.create` lives."""
    return max(record.heartbeat_ns, record.created_at_ns)


def check_max_points(max_points: int | None) -> None:
    """Raises InvalidValueError where `RunLog.scalars` cannot thin to so few."""
    if max_points is not None:
        check.count("RunLog.scalars", "max_points", max_points, _MAX, low=2)


def unknown_run(run_id: str) -> NotFoundError:
    """The error where a call names a run that is not recorded."""
    return NotFoundError(f"no run {run_id!r} is recorded here; create it first")
