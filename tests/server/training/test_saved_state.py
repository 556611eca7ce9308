from __future__ import annotations

import errno
import hashlib
import io
import os
from pathlib import Path

import pytest
import torch

from server.training.saved_state import load_state, save_state, state_sha256
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


@pytest.mark.parametrize("place", [0, 20, 40, 0.3, 0.5, 0.9, -1])
def test_one_wrong_bit_is_damage_wherever_it_is(tmp_path: Path, place: float) -> None:
    save_state(tmp_path, 1, state(1))
    last = save_state(tmp_path, 2, state(2))
    content = bytearray(last.read_bytes())
    content[int(place * len(content)) if isinstance(place, float) else place] ^= 4
    last.write_bytes(content)
    assert load_state(tmp_path)["step"] == 1


def test_a_wrong_bit_of_a_weight_is_damage(tmp_path: Path) -> None:
    """torch alone reads it as another weight."""
    save_state(tmp_path, 1, state(1))
    last = save_state(tmp_path, 2, state(0.25))
    content, bits = last.read_bytes(), torch.full((5,), 0.25).numpy().tobytes()
    assert content.count(bits) == 1
    damaged = content.replace(bits, torch.full((5,), 0.5).numpy().tobytes())
    assert torch.load(io.BytesIO(damaged[damaged.index(b"PK") :]), weights_only=True)["detector"]["weight"][0] == 0.5
    last.write_bytes(damaged)
    assert load_state(tmp_path)["step"] == 1


def test_a_state_is_on_the_disk_before_an_older_one_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done, sync, replace, unlink = [], os.fsync, os.replace, Path.unlink

    def fsync(descriptor: int) -> None:
        done.append(("sync", os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")).split(".pt")[0]))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", lambda *paths: (done.append(("rename", "")), replace(*paths)))
    monkeypatch.setattr(Path, "unlink", lambda path, **how: (done.append(("remove", path.stem)), unlink(path, **how)))
    folder = tmp_path / "run" / "state"
    save_state(folder, 1, state(1))
    # The file, its name, and the names of the two folders that are new.
    first = [("sync", ".step-00000001"), ("rename", ""), ("sync", "state"), ("sync", "run"), ("sync", tmp_path.name)]
    assert done == first
    save_state(folder, 2, state(2))
    done.clear()
    save_state(folder, 3, state(3))
    assert done == [("sync", ".step-00000003"), ("rename", ""), ("sync", "state"), ("remove", "step-00000001")]


def test_none_that_can_be_read(tmp_path: Path) -> None:
    save_state(tmp_path, 1, state(1)).write_bytes(b"x")
    with pytest.raises(
        CheckpointError, match=r"none of its 1 saved states can be read \(.*\); begin anew with --fresh"
    ):
        load_state(tmp_path)


def test_another_format_is_not_taken_for_this_one(tmp_path: Path) -> None:
    torch.save({"format": 1, "step": 1}, tmp_path / "step-00000001.pt")
    with pytest.raises(CheckpointError, match=r"00001.pt: no saved state of format 2: .*; begin anew with --fresh"):
        load_state(tmp_path)


def test_a_state_cannot_run_code(tmp_path: Path) -> None:
    save_state(tmp_path, 1, {"detector": os.getcwd})
    with pytest.raises(CheckpointError, match=r"\(step-00000001.pt: Weights only load failed\)"):
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


def test_a_state_whose_hash_is_right_and_whose_content_is_not(tmp_path: Path) -> None:
    save_state(tmp_path, 1, state(1))
    last = save_state(tmp_path, 2, state(2))
    line = last.read_bytes().split(b"\n")[0]
    last.write_bytes(line + b"\n" + hashlib.sha256(b"nothing").digest() + b"nothing")
    assert load_state(tmp_path)["step"] == 1


def test_the_hash_of_a_state_is_of_names_types_shapes_and_bits() -> None:
    ones = torch.ones(2, 3)
    states = [
        {"a": ones},
        {"b": ones},
        {"a": ones.reshape(3, 2)},
        {"a": ones.to(torch.bfloat16)},
        {"a": ones, "b": torch.tensor(1)},
        {"a": ones, "b": torch.tensor(2)},
        {"a": torch.nextafter(ones, ones + 1)},
    ]
    assert len({state_sha256(each) for each in states}) == len(states)
    turned = {"b": torch.tensor(1), "a": torch.ones(3, 2).T.requires_grad_()}
    assert state_sha256(turned) == state_sha256(states[4])
