"""Where a run's numbers go: TensorBoard files and the server's database."""

from __future__ import annotations

import errno
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from server.repositories.run_log import EvaluationRecord, RunLog, RunRecord, RunState
from shared_models.errors import MissingDependencyError, StorageError, StorageFullError, UpcycleError

log = logging.getLogger(__name__)

BEAT_EVERY_S: Final = 15.0


class Journal:
    """Writes what a run logs; used by the first process only.

    A thread of its own says every few seconds that the run lives, also while a step or an evaluation takes minutes.
    """

    def __init__(
        self,
        folder: Path,
        run_log: RunLog,
        record: RunRecord,
        clock_ns: Callable[[], int] = time.time_ns,
        beat_every_s: float = BEAT_EVERY_S,
    ) -> None:
        """folder: of TensorBoard's files. record: of this run, at the step where it begins or goes on.

        Raises:
            StorageError, StorageFullError: files or database cannot be written.
        """
        self.run_id = record.run_id
        self._folder, self._log, self._clock_ns = folder, run_log, clock_ns
        with self._writing():
            self._board = _board(folder, record.step)
        run_log.create(record)
        self._is_over = threading.Event()
        self._heart = threading.Thread(target=self._beat, args=(beat_every_s,), name="journal", daemon=True)
        self._heart.start()

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        """Log numbers by name at a step, counted from 1.

        Raises:
            StorageError, StorageFullError: they cannot be written.
        """
        with self._writing():
            for name, value in values.items():
                self._board.add_scalar(name, value, step)
        self._log.add_scalars(self.run_id, step, values, self._clock_ns())
        self._log.update(self.run_id, at_ns=self._clock_ns(), step=step)

    def evaluation(self, step: int, report: Mapping[str, Any], values: Mapping[str, float]) -> None:
        """Log an evaluation's report, and single numbers of it as curves. Raises as `numbers`."""
        record = EvaluationRecord(run_id=self.run_id, step=step, report=json.dumps(report), at_ns=self._clock_ns())
        self._log.add_evaluation(record)
        self.numbers(step, values)

    def flush(self) -> None:
        """Numbers so far reach TensorBoard's file. Raises as `numbers`."""
        with self._writing():
            self._board.flush()

    def state(self, state: RunState, step: int, message: str = "") -> None:
        """Say that the run ended, at which step, and why. Raises as `numbers`."""
        self._log.update(self.run_id, at_ns=self._clock_ns(), state=state, step=step, message=message)

    def close(self) -> None:
        """Let go of the files; the database belongs to whoever opened it. Raises as `numbers`."""
        self._is_over.set()
        self._heart.join()
        with self._writing():
            self._board.close()

    def _beat(self, every_s: float) -> None:
        while not self._is_over.wait(every_s):
            try:
                self._log.heartbeat(self.run_id, self._clock_ns())
            except UpcycleError as error:  # the next number that is logged says so to the run
                log.warning("heartbeat cannot be written", extra={"reason": str(error)[:200]})

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """TensorBoard's writer gives the errors of its own thread back as they are, at some later call."""
        try:
            yield
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StorageFullError(f"{self._folder}: no space left on this disk; free some") from error
            raise StorageError(f"{self._folder}: cannot be written: {error.strerror or error}") from error


def _board(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingDependencyError(
            "training writes TensorBoard files and needs tensorboard: pip install 'upcycle-fleet[server]'"
        ) from error
    # Numbers after the step where a run goes on are from a part of it that was lost.
    return SummaryWriter(str(folder), purge_step=step + 1)
