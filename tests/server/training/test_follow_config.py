from __future__ import annotations

from pathlib import Path

import pytest

from server.training.run_config import run_text, whole_run_text
from server.training.run_folder import run_id_of
from shared_models.errors import ConfigError
from tests.small_runs import small_run

ON = "follow.is_on=true"


def test_a_run_that_does_not_follow_is_the_same_one_whatever_it_says(tmp_path: Path) -> None:
    plain = small_run(tmp_path)
    assert run_id_of(plain) == run_id_of(small_run(tmp_path, "follow.round_steps=7"))
    assert "follow" not in run_text(plain)
    assert "follow" not in whole_run_text(plain)


def test_a_run_that_follows_is_another_one_and_may_be_told_when_to_look(tmp_path: Path) -> None:
    follows = small_run(tmp_path, ON)
    assert run_id_of(follows) != run_id_of(small_run(tmp_path))
    assert run_id_of(follows) != run_id_of(small_run(tmp_path, ON, "follow.gate.margin=2.0"))
    same = ("follow.poll_s=5.0", "follow.publish='elsewhere'", "follow.failed_rounds=9")
    assert run_id_of(follows) == run_id_of(small_run(tmp_path, ON, *same))


def test_wrong_values_are_refused(tmp_path: Path) -> None:
    for wrong in ("follow.poll_s=0.0", "follow.gate.confidence=2.0", "follow.admission.share=-1.0", "follow.x=1"):
        with pytest.raises(ConfigError, match="follow"):
            small_run(tmp_path, wrong)
