from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from server.repositories.archive import open_run_log
from server.repositories.run_log import EvaluationRecord, hash_run_file
from shared_models.errors import NotFoundError
from tests.run_records import make_run
from upcycle.runs import app, flat


@pytest.fixture
def data(tmp_path: Path) -> Path:
    run_log = open_run_log(tmp_path, is_new_allowed=True)
    for number in (1, 2):
        text = json.dumps({"seed": number, "loop": {"epochs": 8 * number, "batch_size": 4}})
        record = make_run(f"run-{number}", run_file=text, run_file_sha256=hash_run_file(text), seed=number)
        run_log.create(record)
        for step in (1, 2):
            run_log.add_scalars(record.run_id, step, {"loss/total": number / step}, 5)
    run_log.add_scalars("run-2", 2, {"ap": 12.5}, 5)
    run_log.add_evaluation(EvaluationRecord(run_id="run-2", step=2, report='{"frames": 3}', at_ns=5))
    run_log.update("run-2", at_ns=6, state="failed", step=2, message="no space left")
    run_log.close()
    return tmp_path


def run(data: Path, *words: str):
    return CliRunner().invoke(app, [*words, "--data", str(data)], env={"COLUMNS": "200"})


def test_runs_are_listed(data: Path) -> None:
    result = run(data, "ls")
    assert result.exit_code == 0, result.output
    assert "run-1" in result.stdout
    assert "stopped?" in result.stdout  # said to be running, and silent for years
    rows = [json.loads(line) for line in run(data, "ls", "--json").stdout.splitlines()]
    assert [(row["run_id"], row["state"], row["step"]) for row in rows] == [
        ("run-1", "stopped?", 0),
        ("run-2", "failed", 2),
    ]


def test_a_run_is_shown(data: Path) -> None:
    text = run(data, "show", "run-2").stdout
    assert "no space left" in text
    assert "12.5000  at step 2" in text
    shown = json.loads(run(data, "show", "run-2", "--json").stdout)
    assert shown["last"] == {"ap": [2, 12.5], "loss/total": [2, 1.0]}
    assert shown["evaluations"] == [{"frames": 3, "step": 2}]
    assert shown["run_file"]["loop"]["epochs"] == 16
    assert isinstance(run(data, "show", "none").exception, NotFoundError)
    assert "several runs begin with 'run'" in str(run(data, "show", "run").exception)


def test_runs_are_compared(data: Path) -> None:
    found = json.loads(run(data, "compare", "run-1", "run-2", "--json").stdout)
    assert found["runs"] == ["run-1", "run-2"]
    assert found["differ"] == {"seed": [1, 2], "loop.epochs": [8, 16]}
    assert found["last"] == {"loss/total": [0.5, 1.0]}
    text = run(data, "compare", "run-1", "run-2").stdout
    assert "loop.epochs" in text
    assert "batch_size" not in text


def test_a_folder_without_runs(tmp_path: Path) -> None:
    assert isinstance(run(tmp_path, "ls").exception, NotFoundError)


def test_nested_tables_become_dotted_keys() -> None:
    assert flat({"a": {"b": {"c": 1}, "d": [2]}, "e": {}}) == {"a.b.c": 1, "a.d": [2]}
