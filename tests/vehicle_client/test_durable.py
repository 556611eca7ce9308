"""Files and folders are whole or not there, whatever happens in between."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tests.vehicle_client.power_loss import Picture, crash_points
from vehicle_client.daily_ledger import RESERVED_BYTES, DailyLedger
from vehicle_client.durable import make_directory, write_durably


def test_a_file_is_the_old_or_the_new_one_and_once_written_it_stays(tmp_path: Path):
    path, pictures = tmp_path / "file", []
    path.write_bytes(b"old")
    with crash_points(tmp_path, pictures.append) as crash:
        write_durably(path, b"the new one")
        assert {picture["file"] for picture in pictures} == {b"old", b"the new one"}
        pictures.clear()
        crash()
    assert {picture["file"] for picture in pictures} == {b"the new one"}


def test_what_cannot_be_written_leaves_the_old_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_bytes(b"old")

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "broken")

    for call in ("fsync", "replace"):
        with monkeypatch.context() as broken:
            broken.setattr(os, call, fail)
            with pytest.raises(OSError, match="broken"):
                write_durably(tmp_path / "file", b"new")
        assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("file", b"old")]


def test_folders_stay_with_all_above_them(tmp_path: Path):
    pictures: list[Picture] = []
    with crash_points(tmp_path, lambda picture: None):
        make_directory(tmp_path / "a/b/c")
    with crash_points(tmp_path, pictures.append) as crash:
        make_directory(tmp_path / "a/b/c")
        make_directory(tmp_path / "x/y")
        pictures.clear()
        crash()
    assert all(picture == dict.fromkeys(("a", "a/b", "a/b/c", "x", "x/y")) for picture in pictures)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="exist"):
        make_directory(tmp_path / "file")


def test_a_power_cut_gives_no_byte_of_a_days_budget_twice(tmp_path: Path):
    """What is found on the disk is never less than what was granted before the cut."""
    base, granted, too_little = tmp_path / "disk", 0, []
    base.mkdir()

    def cut(picture: Picture) -> None:
        found = 0
        if "sent.json" in picture:
            (tmp_path / "found.json").write_bytes(picture["sent.json"] or b"")
            found = DailyLedger(tmp_path / "found.json").spent(7, "wifi")
        if not granted <= found <= granted + RESERVED_BYTES + 300_000:
            too_little.append((granted, found))

    with crash_points(base, cut) as crash:
        ledger = DailyLedger(base / "sent.json")
        for _ in range(20):
            granted += ledger.take(7, "wifi", 300_000, 4 * RESERVED_BYTES) * 300_000
            crash()
    assert too_little == []
    assert granted > 3 * RESERVED_BYTES
