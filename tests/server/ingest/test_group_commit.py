"""Rows that share a transaction: who waits for whom, and one scene's trouble."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from server.ingest.group_commit import GroupCommit
from server.repositories.memory import MemorySceneCatalogue
from server.repositories.repository import StoredScene, refused_again
from shared_models.errors import PermissionDeniedError, StorageError
from tests.loopback import make_scene


class SlowCatalogue(MemorySceneCatalogue):
    """Waits in its first transaction until told to go on; `bad` are scenes that no transaction with them survives."""

    def __init__(self) -> None:
        super().__init__()
        self.has_begun, self.go_on = threading.Event(), threading.Event()
        self.batches: list[list[str]] = []
        self.bad: frozenset[str] = frozenset()
        self.refused: frozenset[str] = frozenset()

    def add_many(self, new: Sequence[StoredScene]) -> list[StoredScene | PermissionDeniedError]:
        self.batches.append([scene.scene_id for scene in new])
        self.has_begun.set()
        assert self.go_on.wait(20)
        if self.bad.intersection(self.batches[-1]):
            raise StorageError("one of these cannot be written")
        return [refused_again(s.scene_id) if s.scene_id in self.refused else self._added(s) for s in new]

    def add(self, *given: Any, **named: Any) -> StoredScene:
        if given[2] in self.bad:
            raise StorageError("this cannot be written")
        return super().add(*given, **named)


def scene(number: int) -> StoredScene:
    manifest = make_scene(number).manifest
    return StoredScene(manifest=manifest, stored_at_ns=number, scene_id=manifest.scene_id)


def add_while_first_commits(catalogue: SlowCatalogue, threads: ThreadPoolExecutor) -> list[Future[StoredScene]]:
    """Four scenes; the first is being committed when the others come."""
    rows = GroupCommit(catalogue)
    first = threads.submit(rows.add, scene(0))
    assert catalogue.has_begun.wait(20)
    others = [threads.submit(rows.add, scene(number)) for number in range(1, 4)]
    for _ in range(20_000):
        with rows._changed:
            if len(rows._queue) == 3:
                break
        threading.Event().wait(0.001)
    catalogue.go_on.set()
    return [first, *others]


def test_a_scene_that_comes_alone_is_committed_at_once() -> None:
    catalogue = SlowCatalogue()
    catalogue.go_on.set()
    rows = GroupCommit(catalogue)
    assert [rows.add(scene(number)) for number in range(3)] == [scene(number) for number in range(3)]
    assert catalogue.batches == [[scene(number).scene_id] for number in range(3)]


def test_those_that_come_during_a_transaction_share_the_next() -> None:
    catalogue = SlowCatalogue()
    with ThreadPoolExecutor(4) as threads:
        added = [future.result(20) for future in add_while_first_commits(catalogue, threads)]
    assert added == [scene(number) for number in range(4)]
    assert [len(batch) for batch in catalogue.batches] == [1, 3]
    assert catalogue.counts().scenes == 4


def test_one_bad_scene_does_not_fail_its_neighbours() -> None:
    catalogue = SlowCatalogue()
    catalogue.bad = frozenset({scene(2).scene_id})
    with ThreadPoolExecutor(4) as threads:
        futures = add_while_first_commits(catalogue, threads)
        with pytest.raises(StorageError, match="this cannot be written"):
            futures[2].result(20)
        assert [futures[number].result(20) for number in (0, 1, 3)] == [scene(number) for number in (0, 1, 3)]
    assert catalogue.counts().scenes == 3


def test_a_refused_scene_is_told_by_itself() -> None:
    catalogue = SlowCatalogue()
    catalogue.refused = frozenset({scene(1).scene_id})
    with ThreadPoolExecutor(4) as threads:
        futures = add_while_first_commits(catalogue, threads)
        with pytest.raises(PermissionDeniedError, match="deleted by the operator"):
            futures[1].result(20)
        assert [futures[number].result(20) for number in (0, 2, 3)] == [scene(number) for number in (0, 2, 3)]
    assert [len(batch) for batch in catalogue.batches] == [1, 3]


def test_a_database_that_is_lost_is_told_and_comes_back() -> None:
    catalogue = SlowCatalogue()
    catalogue.go_on.set()
    rows = GroupCommit(catalogue)
    catalogue.bad = frozenset({scene(0).scene_id})
    with pytest.raises(StorageError, match="one of these"):
        rows.add(scene(0))
    catalogue.bad = frozenset()
    assert rows.add(scene(0)) == scene(0)
