"""What a run that follows a store has decided: about every scene, and after every round.

RUN/follow/scenes.jsonl    one line a decision; the last one of a scene holds
RUN/follow/rounds.jsonl    one line a round

People's decisions (`upcycle runs quarantine`) are added to the same file while the run goes on, under a lock.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal, get_args

from server.training.atomic_files import write_whole
from shared_models.errors import DatasetError, InvalidValueError, NotFoundError, StorageError
from shared_models.records import check

FOLDER: Final = "follow"
State = Literal["admitted", "quarantined", "released", "rejected", "removed"]
USABLE: Final = ("admitted", "released")


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneDecision:
    """What was decided about a stored scene.

    state: "quarantined" scenes wait for a person, who may have them "released" or "rejected"; "removed" ones are not
        stored any more.
    vehicle: tag of the vehicle that sent it. round: number of the round that it would first be learned from in.
    distance, reasons: of the check, as `server.training.admission.Verdict`.
    """

    scene_id: str
    vehicle: str
    state: State
    round: int
    at_ns: int
    distance: float | None = None
    reasons: tuple[Mapping[str, Any], ...] = ()

    def __post_init__(self) -> None:
        check.sha256_hex("SceneDecision", "scene_id", self.scene_id)
        if self.state not in get_args(State):
            raise InvalidValueError(f"SceneDecision.state: expected one of {get_args(State)}, got {self.state!r}")

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {**asdict(self), "reasons": [dict(reason) for reason in self.reasons]}


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundRecord:
    """One round that has been judged; number 0 is the checkpoint that the run began with.

    first_step, last_step: before its first step and after its last. scenes: that it could learn from.
    admitted, quarantined, removed: scenes of which that was found since the round before.
    is_passed: whether its checkpoint was published. why, differences, scores: as `GateDecision`.
    checkpoint: name of its folder, "" where there is none.
    """

    number: int
    first_step: int
    last_step: int
    scenes: int
    admitted: int
    quarantined: int
    removed: int
    is_passed: bool
    why: str
    checkpoint: str
    at_ns: int
    differences: Mapping[str, float] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)


class FollowRecords:
    """Both files of a run's folder; they may be missing."""

    def __init__(self, run_folder: Path) -> None:
        self.folder = run_folder / FOLDER
        self._scenes, self._rounds = self.folder / "scenes.jsonl", self.folder / "rounds.jsonl"

    def decisions(self) -> dict[str, SceneDecision]:
        """The last decision about each scene, by its id. Raises DatasetError where a line cannot be read."""
        with self._reading(self._scenes):
            found = [SceneDecision(**{**line, "reasons": tuple(line["reasons"])}) for line in _lines(self._scenes)]
        return {decision.scene_id: decision for decision in found}

    def decide(self, decisions: Iterable[SceneDecision]) -> None:
        """Add decisions; they are on the disk then. Raises StorageError."""
        with self._locked():
            _append(self._scenes, (decision.to_dict() for decision in decisions))

    def forget(self, removed: Iterable[SceneDecision]) -> None:
        """Scenes that are stored no more: of each only this decision stays, and nothing that was measured in it."""
        with self._locked():
            gone = {decision.scene_id: decision.to_dict() for decision in removed}
            kept = [line for line in _lines(self._scenes) if line.get("scene_id") not in gone]
            text = "".join(json.dumps(line) + "\n" for line in (*kept, *gone.values()))
            write_whole(self._scenes, text.encode(), is_durable=True)

    def settle(self, beginnings: Iterable[str], state: Literal["released", "rejected"], at_ns: int) -> None:
        """A person's decision about quarantined scenes, named by their ids or the beginnings of these.

        Raises:
            NotFoundError: no scene in quarantine, or several, have such an id.
        """
        waiting = {key: each for key, each in self.decisions().items() if each.state == "quarantined"}
        chosen = []
        for beginning in beginnings:
            found = [each for key, each in waiting.items() if key.startswith(beginning)] if beginning else []
            if len(found) != 1:
                raise NotFoundError(
                    f"{len(found) or 'no'} scenes in quarantine begin with {beginning!r}; `upcycle runs quarantine` "
                    "lists them"
                )
            chosen.append(replace(found[0], state=state, at_ns=at_ns))
        self.decide(chosen)

    def rounds(self) -> list[RoundRecord]:
        """All rounds that were judged, in order. Raises DatasetError where a line cannot be read."""
        with self._reading(self._rounds):
            found = [RoundRecord(**line) for line in _lines(self._rounds)]
        return sorted({record.number: record for record in found}.values(), key=lambda record: record.number)

    def add_round(self, record: RoundRecord) -> None:
        """Remember a judged round; it is on the disk then. Raises StorageError."""
        with self._locked():
            _append(self._rounds, [asdict(record)])

    @contextmanager
    def _reading(self, path: Path) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DatasetError(f"{path}: not readable ({error}); restore it, or begin anew with --fresh") from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                yield
            finally:
                os.close(descriptor)
        except OSError as error:
            raise StorageError(f"{self.folder}: cannot be written: {error.strerror or error}") from error


def _lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a file; one that a killed process or a full disk left unfinished at its end is none."""
    try:
        whole, _, _ = path.read_text(encoding="utf-8").rpartition("\n")
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in whole.splitlines()]


def _append(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    with path.open("ab+") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        end = file.read(size).rfind(b"\n") + 1
        file.truncate(end)
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())
