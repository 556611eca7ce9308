"""Errors of the disk, and files that move on."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from server.stores.placed_files import move_on, storage_errors, write_all
from shared_models.errors import StorageError, StorageFullError


@pytest.mark.parametrize(
    ("number", "error"), [(errno.ENOSPC, StorageFullError), (errno.EDQUOT, StorageFullError), (errno.EIO, StorageError)]
)
def test_what_the_disk_reports_is_said_in_this_projects_words(
    tmp_path: Path, number: int, error: type[Exception]
) -> None:
    with pytest.raises(error, match=tmp_path.name), storage_errors(tmp_path / "a"):
        raise OSError(number, os.strerror(number))


def test_some_errors_may_pass(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), storage_errors(tmp_path, FileNotFoundError):
        raise FileNotFoundError


def test_who_finds_the_file_moved_already_is_content(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"there")
    move_on(tmp_path / "way", tmp_path / "target")
    with pytest.raises(FileNotFoundError):
        move_on(tmp_path / "way", tmp_path / "nowhere")


def test_a_write_that_is_cut_short_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr("server.stores.placed_files.os.write", lambda descriptor, data: real(descriptor, data[:2]))
    with open(tmp_path / "a", "wb", buffering=0) as file:
        write_all(file.fileno(), b"abcde")
    assert (tmp_path / "a").read_bytes() == b"abcde"
