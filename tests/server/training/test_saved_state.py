from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import torch

from server.training.saved_state import load_state, save_state
from shared_models.errors import CheckpointError, StorageFullError


def state(value: float) -> dict:
    return {"detector": {"weight": torch.full((5,), value)}, "total_steps": 9, "recipe": {"nested": [1, "two"]}}


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    assert load_state(tmp_path) is None
    save_state(tmp_path / "new", 3, state(0.25))
    found = load_state(tmp_path / "new")
    assert found is not None
    assert (found["step"], found["total_steps"], found["recipe"]) == (3, 9, {"nested": [1, "two"]})
    assert torch.equal(found["detector"]["weight"], torch.full((5,), 0.25))


def test_the_last_two_are_kept(tmp_path: Path) -> None:
    for step in (9, 10, 200, 11):
        save_state(tmp_path, step, state(step))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000011.pt", "step-00000200.pt"]
    assert load_state(tmp_path)["step"] == 200


@pytest.mark.parametrize("damage", [b"", b"garbage", None])
def test_a_damaged_last_one_falls_back_to_the_one_before(tmp_path: Path, caplog, damage: bytes | None) -> None:
    save_state(tmp_path, 1, state(1))
    last = save_state(tmp_path, 2, state(2))
    last.write_bytes(last.read_bytes()[:-200] if damage is None else damage)
    assert load_state(tmp_path)["step"] == 1
    assert "saved state cannot be read" in caplog.text


def test_none_that_can_be_read(tmp_path: Path) -> None:
    save_state(tmp_path, 1, state(1)).write_bytes(b"x")
    with pytest.raises(CheckpointError, match="none of its 1 saved states can be read; begin anew with --fresh"):
        load_state(tmp_path)


def test_another_format_is_not_taken_for_this_one(tmp_path: Path) -> None:
    torch.save({"format": 99, "step": 1}, tmp_path / "step-00000001.pt")
    with pytest.raises(CheckpointError):
        load_state(tmp_path)


def test_a_state_cannot_run_code(tmp_path: Path) -> None:
    torch.save({"format": 1, "step": 1, "detector": os.getcwd}, tmp_path / "step-00000001.pt")
    with pytest.raises(CheckpointError):
        load_state(tmp_path)


def test_a_full_disk_leaves_the_former_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_state(tmp_path, 1, state(1))

    def full(path: Path, data: bytes) -> int:
        with open(path, "wb") as file:  # some of it fits
            file.write(data[:100])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StorageFullError, match=r"step-00000002.pt: no space left on this disk; free some"):
        save_state(tmp_path, 2, state(2))
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001.pt"]
    assert load_state(tmp_path)["step"] == 1
    save_state(tmp_path, 2, state(2))
    assert load_state(tmp_path)["step"] == 2
