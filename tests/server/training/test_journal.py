from __future__ import annotations

import errno
import json
import math
import os
import threading
from pathlib import Path

import pytest

from server.repositories.archive import open_run_log
from server.repositories.memory_run_log import MemoryRunLog
from server.training.journal import Journal
from shared_models.errors import StorageFullError
from tests.run_records import make_run


def board_of(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard's own reader finds: step and value by name."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return {name: [(e.step, e.value) for e in events.Scalars(name)] for name in events.Tags()["scalars"]}


@pytest.fixture
def run_log():
    return MemoryRunLog()


def journal_at(folder: Path, run_log, step: int, **given) -> Journal:
    return Journal(folder, run_log, make_run(step=step), clock_ns=lambda: 5_000, **given)


def test_numbers_reach_tensorboard_and_the_run_log(tmp_path: Path, run_log) -> None:
    journal = journal_at(tmp_path, run_log, 0)
    for step in (1, 2, 3):
        journal.numbers(step, {"loss/total": 1 / step, "train/learning_rate": 0.5})
    journal.state("finished", 3)
    journal.close()
    board = board_of(tmp_path)
    assert board["loss/total"] == [(1, 1.0), (2, 0.5), (3, pytest.approx(1 / 3))]
    assert len(board["train/learning_rate"]) == 3
    logged = run_log.scalars("run-1", names=["loss/total"])
    assert [(s.step, s.value) for s in logged] == [(1, 1.0), (2, 0.5), (3, 1 / 3)]
    assert (run_log.run("run-1").state, run_log.run("run-1").step) == ("finished", 3)


def test_the_part_after_the_step_that_a_run_goes_on_from_is_not_there_twice(tmp_path: Path, run_log) -> None:
    """The process died after step 4; the last saved state is of step 2."""
    first = journal_at(tmp_path, run_log, 0)
    for step in (1, 2, 3, 4):
        first.numbers(step, {"loss/total": float(step)})
    first.close()
    again = journal_at(tmp_path, run_log, 2)
    assert run_log.run("run-1").step == 2
    for step in (3, 4, 5):
        again.numbers(step, {"loss/total": step + 0.5})
    again.close()
    expected = [(1, 1.0), (2, 2.0), (3, 3.5), (4, 4.5), (5, 5.5)]
    assert board_of(tmp_path)["loss/total"] == expected
    assert [(s.step, s.value) for s in run_log.scalars("run-1")] == expected


def test_an_evaluation_is_a_report_and_curves(tmp_path: Path, run_log) -> None:
    journal = journal_at(tmp_path, run_log, 0)
    journal.evaluation(10, {"frames": 3}, {"ap_all/strict/car/3d/moderate": 12.5})
    journal.close()
    (record,) = run_log.evaluations("run-1")
    assert (record.step, json.loads(record.report)) == (10, {"frames": 3})
    assert board_of(tmp_path) == {"ap_all/strict/car/3d/moderate": [(10, 12.5)]}
    assert [s.value for s in run_log.scalars("run-1")] == [12.5]


def test_flushed_numbers_are_in_the_file_though_the_process_dies(tmp_path: Path, run_log) -> None:
    journal = journal_at(tmp_path, run_log, 0)
    journal.numbers(1, {"loss/total": math.pi})
    journal.flush()
    assert board_of(tmp_path)["loss/total"] == [(1, pytest.approx(math.pi))]
    journal.close()


def test_the_run_is_said_to_live_while_nothing_is_logged(tmp_path: Path) -> None:
    beaten = threading.Event()

    class Listening(MemoryRunLog):
        def heartbeat(self, run_id: str, at_ns: int) -> None:
            super().heartbeat(run_id, at_ns)
            beaten.set()

    run_log = Listening()
    journal = journal_at(tmp_path, run_log, 0, beat_every_s=0.001)
    assert beaten.wait(20)
    journal.close()
    assert run_log.run("run-1").heartbeat_ns == 5_000
    beaten.clear()
    assert not beaten.wait(0.05)


def test_a_full_disk_has_its_own_error(tmp_path: Path, run_log, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = journal_at(tmp_path, run_log, 0)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(journal._board, "add_scalar", full)
        with pytest.raises(StorageFullError, match="no space left on this disk"):
            journal.numbers(1, {"loss/total": 1.0})
    journal.close()


def test_the_servers_database_takes_it(tmp_path: Path) -> None:
    run_log = open_run_log(tmp_path, is_new_allowed=True)
    journal = journal_at(tmp_path / "board", run_log, 0)
    journal.numbers(1, {"loss/total": 1.5})
    journal.close()
    run_log.close()
    reader = open_run_log(tmp_path)
    assert [(s.name, s.step, s.value) for s in reader.scalars("run-1")] == [("loss/total", 1, 1.5)]
    reader.close()
