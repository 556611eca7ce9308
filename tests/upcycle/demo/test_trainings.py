from __future__ import annotations

import sys
from pathlib import Path

import pytest

from shared_models.errors import OperatorError
from tests.small_demo import small_config
from upcycle.demo import run_files, trainings
from upcycle.demo.trainings import Training, train_together


def test_a_training_that_fails_ends_the_others_and_says_why(tmp_path: Path, monkeypatch) -> None:
    program = tmp_path / "program"
    program.write_text('#!/bin/sh\ncase "$*" in *demo-fleet*) echo no memory; exit 3;; esac\nexec sleep 60\n')
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setattr(trainings, "LOOK_EVERY_S", 0.05)
    config = small_config()
    runs = (run_files.control(config, tmp_path / "checkpoint"), run_files.pretraining(config))
    both = [Training(run=run, folder=tmp_path, data=tmp_path / "data") for run in runs]
    said: list[str] = []
    with pytest.raises(OperatorError, match="demo-fleet ended with exit code 3: no memory"):
        train_together(both, said.append)
    assert said[0] == "demo-control begins; demo-fleet begins"
