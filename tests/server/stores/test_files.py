"""Payload files: layout, damage, full and failing disks."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest

from server.stores.aligned_file import BLOCK
from server.stores.files import FilePayloadStore
from server.stores.store import NewPayload
from shared_models.errors import InvalidValueError, StorageError, StorageFullError

KEY = "1" * 64


@pytest.fixture
def store(tmp_path: Path) -> FilePayloadStore:
    return FilePayloadStore(tmp_path)


def commit(store: FilePayloadStore, payload: bytes) -> str:
    partial = store.open_partial(KEY)
    partial.append(payload)
    return partial.commit()


def files_in(root: Path) -> list[str]:
    """All but the index of segments, which is always there."""
    files = (str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
    return sorted(name for name in files if not name.startswith("segments/index.sqlite"))


def move_to_second_level(store: FilePayloadStore, sha256: str) -> Path:
    """Where earlier builds put it."""
    new = store.path(sha256)
    old = new.parent / sha256[2:4] / sha256
    old.parent.mkdir()
    return new.rename(old)


def test_one_level_of_folders(store: FilePayloadStore, tmp_path: Path) -> None:
    sha256 = commit(store, b"abc")
    assert files_in(tmp_path) == [f"payloads/{sha256[:2]}/{sha256}"]
    assert len(list((tmp_path / "payloads").iterdir())) == 256


def test_payloads_of_earlier_builds_are_read_and_removed(store: FilePayloadStore, tmp_path: Path) -> None:
    sha256 = commit(store, b"abc")
    old = move_to_second_level(store, sha256)
    reopened = FilePayloadStore(tmp_path, is_read_only=True)
    assert (reopened.has(sha256), reopened.read(sha256), reopened.path(sha256)) == (True, b"abc", old)
    commit(store, b"abc")  # sent again: now it lies in both places
    assert files_in(tmp_path) == sorted([f"payloads/{sha256[:2]}/{sha256}", str(old.relative_to(tmp_path))])
    store.remove(sha256)
    assert (store.has(sha256), files_in(tmp_path)) == (False, [])


def test_folders_are_made_and_synced_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a killed process has made them: nobody knows whether it came to sync them."""
    synced: list[str] = []
    sync = os.fsync

    def record(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        sync(descriptor)

    (tmp_path / "payloads" / "ba").mkdir(parents=True)
    monkeypatch.setattr("server.stores.files.os.fsync", record)
    for _ in range(2):
        store = FilePayloadStore(tmp_path)
        assert synced == [str(tmp_path / "payloads"), str(tmp_path)]
        synced.clear()
    sha256 = commit(store, b"abc")
    assert synced == [str(tmp_path / "partial" / KEY), str(tmp_path / "arrived")]
    assert files_in(tmp_path) == [f"payloads/{sha256[:2]}/{sha256}"]


def test_damaged_file_is_named(store: FilePayloadStore) -> None:
    sha256 = commit(store, b"abc")
    store.path(sha256).write_bytes(b"abd")
    with pytest.raises(StorageError, match=f"{sha256}: damaged"):
        store.read(sha256)


@pytest.mark.parametrize("name", ["../../etc/passwd", "AB" * 32, "", "ab"])
def test_names_that_are_no_hash(store: FilePayloadStore, name: str) -> None:
    for use in (store.read, store.has, store.open_partial, store.partial_bytes):
        with pytest.raises(InvalidValueError, match="hexadecimal"):
            use(name)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
def test_full_disk(
    store: FilePayloadStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    kept = commit(store, b"kept")
    partial = store.open_partial(KEY)
    partial.append(b"begun")

    def fail(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(f"server.stores.files.os.{call}", fail)
    with pytest.raises(StorageFullError, match="no space left"):
        partial.append(b"more") if call == "write" else partial.commit()
    monkeypatch.undo()
    assert files_in(tmp_path) == [str(store.path(kept).relative_to(tmp_path))]
    assert store.read(kept) == b"kept"
    assert store.read(commit(store, b"after")) == b"after"


def test_failing_disk(store: FilePayloadStore, monkeypatch: pytest.MonkeyPatch) -> None:
    partial = store.open_partial(KEY)

    def fail(*_: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("server.stores.files.os.fsync", fail)
    with pytest.raises(StorageError, match="Input/output error"):
        partial.commit()
    monkeypatch.undo()
    assert store.partial_bytes(KEY) == 0


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file"):
        FilePayloadStore(tmp_path / "file" / "data")


def test_synced_before_and_after_renaming(store: FilePayloadStore, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    partial = store.open_partial(KEY)
    partial.append(b"abc")
    for name in ("fsync", "replace"):
        real = getattr(os, name)

        def record(*arguments: object, name: str = name, real: object = real) -> object:
            calls.append(name)
            return real(*arguments)  # type: ignore[operator]

        monkeypatch.setattr(f"server.stores.files.os.{name}", record)
    partial.commit()
    # Durable with the second sync; the second renaming no power cut can do by halves.
    assert calls == ["fsync", "replace", "fsync", "replace"]


def test_what_a_power_cut_left_on_the_way_is_read_and_moved_on(store: FilePayloadStore, tmp_path: Path) -> None:
    sha256 = commit(store, b"abc")
    way = store.path(sha256).rename(tmp_path / "arrived" / sha256)
    reader = FilePayloadStore(tmp_path, is_read_only=True)
    assert (reader.has(sha256), reader.read(sha256), reader.path(sha256)) == (True, b"abc", way)
    opened = FilePayloadStore(tmp_path)
    assert files_in(tmp_path) == [f"payloads/{sha256[:2]}/{sha256}"]
    assert opened.read(sha256) == b"abc"


def test_a_payload_on_the_way_can_be_removed(store: FilePayloadStore, tmp_path: Path) -> None:
    sha256 = commit(store, b"abc")
    store.path(sha256).rename(tmp_path / "arrived" / sha256)
    store.remove(sha256)
    assert (store.has(sha256), files_in(tmp_path)) == (False, [])


def whole(payload: bytes, key: str = KEY) -> NewPayload:
    return NewPayload(key=key, payload=payload, sha256=hashlib.sha256(payload).hexdigest())


def test_payloads_that_came_whole_share_a_file(store: FilePayloadStore, tmp_path: Path) -> None:
    in_pieces, new = commit(store, b"in pieces"), [whole(b"one"), whole(b"two", "2" * 64)]
    assert store.put_together(new) == [None, None]
    (segment,) = (tmp_path / "segments").glob("*.segment")
    assert files_in(tmp_path) == [f"payloads/{in_pieces[:2]}/{in_pieces}", f"segments/{segment.name}"]
    assert store.names() == {in_pieces, *(each.sha256 for each in new)}
    reader = FilePayloadStore(tmp_path, is_read_only=True)
    assert [reader.read(each.sha256) for each in new] == [b"one", b"two"]
    store.remove(new[0].sha256)
    assert (reader.has(new[0].sha256), reader.has(new[1].sha256)) == (False, True)


def test_of_those_that_have_no_room_together_some_may_have_it_alone(
    store: FilePayloadStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.pwrite

    def little_room(descriptor: int, data: memoryview, offset: int) -> int:
        if len(data) > 2 * BLOCK:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, data, offset)

    monkeypatch.setattr("server.stores.aligned_file.os.pwrite", little_room)
    large = whole(bytes(2 * BLOCK), "2" * 64)
    outcomes = store.put_together([whole(b"small"), large, whole(b"small too", "3" * 64)])
    assert [type(each) for each in outcomes] == [type(None), StorageFullError, type(None)]
    assert store.names() == {whole(b"small").sha256, whole(b"small too").sha256}


def test_a_folder_of_an_earlier_build_is_read_without_segments(tmp_path: Path) -> None:
    store = FilePayloadStore(tmp_path)
    sha256 = commit(store, b"abc")
    store.close()
    for path in (tmp_path / "segments").iterdir():
        path.unlink()
    (tmp_path / "segments").rmdir()
    reader = FilePayloadStore(tmp_path, is_read_only=True)
    assert (reader.read(sha256), reader.has("0" * 64)) == (b"abc", False)


def test_a_sound_file_is_read_whatever_is_in_the_segments(store: FilePayloadStore, tmp_path: Path) -> None:
    store.put_together([whole(b"twice")])
    commit(store, b"twice")
    (segment,) = (tmp_path / "segments").glob("*.segment")
    segment.write_bytes(segment.read_bytes().replace(b"twice", b"Twice"))
    assert store.read(whole(b"twice").sha256) == b"twice"


def test_of_a_damaged_file_the_copy_in_a_segment_is_read(store: FilePayloadStore) -> None:
    store.put_together([whole(b"twice")])
    store.path(commit(store, b"twice")).write_bytes(b"Twice")
    assert store.read(whole(b"twice").sha256) == b"twice"


def test_segments_are_opened_when_they_are_needed(tmp_path: Path) -> None:
    FilePayloadStore(tmp_path).close()
    assert not list((tmp_path / "segments").iterdir())
