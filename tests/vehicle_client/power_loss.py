"""A disk that can be looked at after every step: what `kill -9` and what a power cut would leave of it.

While it records, each sync, rename, removal, new folder and SQL statement is a crash point. For each there are several
pictures of the disk: everything as it is (the process is killed); only what was synced (the power fails); names but no
data, or half of them; removals undone; and SQLite's log torn off within a commit. What SQLite itself writes is taken to
be on disk, apart from that log.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

Picture = dict[str, bytes | None]  # contents by path; None is a folder
_LOG = ".sqlite-wal"


def take(base: Path) -> Picture:
    """All folders and files below `base`."""
    picture: Picture = {}
    for folder, folders, files in os.walk(base):
        for name in folders:
            picture[os.path.relpath(os.path.join(folder, name), base)] = None
        for name in (name for name in files if not name.endswith("-shm")):  # memory: does not outlive a crash
            path = os.path.join(folder, name)
            picture[os.path.relpath(path, base)] = Path(path).read_bytes()
    return picture


def restore(picture: Picture, base: Path) -> None:
    """Make such a disk below `base`."""
    for path in sorted(picture):
        content = picture[path]
        if content is None:
            (base / path).mkdir(parents=True, exist_ok=True)
        else:
            (base / path).write_bytes(content)


class Disk:
    """Follows what is on the disk below a folder, and what of it would outlive a power cut."""

    def __init__(self, base: Path) -> None:
        self._base = base
        self._durable = take(base)  # the disk after a power cut
        self._synced = {path: data for path, data in self._durable.items() if data is not None}
        self._commit: tuple[str, int] | None = None  # the log's name and length before a commit

    def pictures(self) -> Iterator[Picture]:
        """What a crash here may leave."""
        live = take(self._base)
        yield live
        yield from self._torn(live)
        own = {path: data for path, data in live.items() if _is_sqlite(path)}
        yield _rooted({**self._durable, **own})
        for share in (0.0, 0.5):
            lost = {
                path: data[: int(len(data) * share)]
                for path, data in live.items()
                if data is not None and path not in self._synced and not _is_sqlite(path)
            }
            yield {**self._durable, **live, **lost}

    def synced(self, path: str) -> None:
        """A file or folder was synced."""
        live = take(self._base)
        name = os.path.relpath(path, self._base)
        content = live.get(name)
        if content is not None:
            self._synced[name] = content
            if name in self._durable:
                self._durable[name] = content
            return
        folder = "" if name == "." else name
        self._durable = {p: d for p, d in self._durable.items() if os.path.dirname(p) != folder}
        for each, data in live.items():
            if os.path.dirname(each) == folder:
                self._durable[each] = None if data is None else self._synced.get(each, b"")

    def moved(self, source: str, target: str) -> None:
        """A file was renamed."""
        old, new = (os.path.relpath(path, self._base) for path in (source, target))
        self._synced.pop(new, None)
        if old in self._synced:
            self._synced[new] = self._synced.pop(old)

    def removed(self, path: str) -> None:
        """A file is gone."""
        self._synced.pop(os.path.relpath(path, self._base), None)

    def commits(self) -> None:
        """A commit begins: what it adds to SQLite's log may be torn until it has returned."""
        logs = {path: data for path, data in take(self._base).items() if path.endswith(_LOG)}
        self._commit = next(((path, len(data or b"")) for path, data in logs.items()), None)

    def _torn(self, live: Picture) -> Iterator[Picture]:
        if self._commit is None:
            return
        (path, before), self._commit = self._commit, None
        log = live.get(path)
        if log is None or len(log) <= before:
            return
        for share in (0.0, 0.4, 0.8, 0.999):
            yield {**live, path: log[: before + int((len(log) - before) * share)]}


def _is_sqlite(path: str) -> bool:
    return ".sqlite" in path or path.endswith("/lock")


def _rooted(picture: Picture) -> Picture:
    """Without what lies in folders that are gone."""

    def is_there(path: str) -> bool:
        parent = os.path.dirname(path)
        return not parent or (parent in picture and is_there(parent))

    return {path: data for path, data in picture.items() if is_there(path)}


@contextmanager
def crash_points(base: Path, on_crash: Callable[[Picture], None]) -> Iterator[Callable[[], None]]:
    """Call `on_crash` with each picture of each crash point in the block; gives what makes one more."""
    disk, is_inside = Disk(base), False

    def crash() -> None:
        for picture in disk.pictures():
            on_crash(picture)

    def watch(call: Callable[..., Any], note: Callable[..., None], describe: Callable[..., tuple[str, ...]]) -> Any:
        def watched(*given: Any, **named: Any) -> Any:
            nonlocal is_inside
            if is_inside:
                return call(*given, **named)
            is_inside = True
            try:
                crash()
                paths = describe(*given)
                answer = call(*given, **named)
                note(*paths)
                return answer
            finally:
                is_inside = False

        return watched

    def statement(text: str) -> None:
        crash()
        if text == "COMMIT":
            disk.commits()

    def connect(*given: Any, **named: Any) -> sqlite3.Connection:
        database = real_connect(*given, **named)
        database.set_trace_callback(statement)
        return database

    real_connect = sqlite3.connect
    with (
        mock.patch("os.fsync", watch(os.fsync, disk.synced, lambda fd: (os.readlink(f"/proc/self/fd/{fd}"),))),
        mock.patch("os.replace", watch(os.replace, disk.moved, lambda a, b: (os.fspath(a), os.fspath(b)))),
        mock.patch("os.unlink", watch(os.unlink, disk.removed, lambda path: (os.fspath(path),))),
        mock.patch("os.mkdir", watch(os.mkdir, lambda path: None, lambda path, *mode: (os.fspath(path),))),
        mock.patch("sqlite3.connect", connect),
    ):
        yield crash
