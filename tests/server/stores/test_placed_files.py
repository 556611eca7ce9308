"""Files placed together: one that fails harms none of the others."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from server.stores.placed_files import NewFile, begin_writing, place_together, storage_errors
from shared_models.errors import StorageError, StorageFullError


@pytest.fixture
def files(tmp_path: Path) -> list[NewFile]:
    """Three that are written and not synced."""
    for name in ("way", "target"):
        (tmp_path / name).mkdir()
    made = []
    for name in ("a", "b", "c"):
        descriptor = begin_writing(tmp_path / name, name.encode())
        made.append(
            NewFile(
                descriptor=descriptor,
                source=tmp_path / name,
                way=tmp_path / "way" / name,
                target=tmp_path / "target" / name,
            )
        )
    return made


def left(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_all_come_to_their_place_with_one_sync_of_the_folder(
    files: list[NewFile], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced, sync = [], os.fsync

    def record(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        sync(descriptor)

    monkeypatch.setattr("server.stores.placed_files.os.fsync", record)
    place_together(files)
    assert left(tmp_path) == ["target/a", "target/b", "target/c"]
    assert synced == [*(str(tmp_path / name) for name in "abc"), str(tmp_path / "way")]
    assert [each.error for each in files] == [None] * 3


def test_one_that_cannot_be_synced_leaves_nothing(
    files: list[NewFile], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, sync = files[1].descriptor, os.fsync

    def fail(descriptor: int) -> None:
        if descriptor == bad:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr("server.stores.placed_files.os.fsync", fail)
    place_together(files)
    assert left(tmp_path) == ["target/a", "target/c"]
    assert [type(each.error) for each in files] == [type(None), StorageFullError, type(None)]
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(bad)


def test_a_folder_that_cannot_be_synced_fails_all(
    files: list[NewFile], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("server.stores.placed_files.sync_directory", fail)
    place_together(files)
    assert [type(each.error) for each in files] == [StorageError] * 3


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("server.stores.placed_files.os.write", fail)
    with pytest.raises(StorageFullError), storage_errors(tmp_path / "a"):
        begin_writing(tmp_path / "a", b"a")
    assert left(tmp_path) == []


def test_begin_writing_starts_anew(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"longer than that")
    os.close(begin_writing(tmp_path / "a", b"short"))
    assert (tmp_path / "a").read_bytes() == b"short"
