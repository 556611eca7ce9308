from __future__ import annotations

from pathlib import Path

import pytest

from shared_models.errors import NotFoundError, StorageError
from vehicle_client.heartbeat import age_s, beat


def test_the_age_is_counted_from_the_last_beat(tmp_path: Path):
    beat(tmp_path / "state", now_s=1000.0)
    beat(tmp_path / "state", now_s=1030.0)
    assert age_s(tmp_path / "state", now_s=1040.0) == 10.0


def test_without_a_beat_there_is_no_age(tmp_path: Path):
    with pytest.raises(NotFoundError, match="no sign of life"):
        age_s(tmp_path, now_s=0.0)


def test_a_state_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        beat(tmp_path / "file", now_s=0.0)
