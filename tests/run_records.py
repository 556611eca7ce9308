"""Training runs made up for tests."""

from __future__ import annotations

from typing import Any

from server.repositories.run_log import RunRecord, hash_run_file

RUN_FILE = 'recipe = "supervised"\nsteps = 100\n'


def make_run(run_id: str = "run-1", **changed: Any) -> RunRecord:
    """A run of 100 steps that has just begun."""
    run_file = changed.get("run_file", RUN_FILE)
    given = {
        "run_id": run_id,
        "name": "a test",
        "recipe": "supervised",
        "seed": 3,
        "created_at_ns": 1_000,
        "run_file": run_file,
        "run_file_sha256": hash_run_file(run_file),
        "code_version": "0.1.0",
        "folder": "runs/a",
        "total_steps": 100,
    }
    return RunRecord(**{**given, **changed})
