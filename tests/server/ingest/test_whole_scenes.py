"""Scenes that came whole, made durable together: one's trouble is not its neighbours'."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from server.ingest.completion import Acknowledged, Completion
from server.ingest.limits import LimitsConfig
from server.ingest.quotas import VehicleQuotas
from server.ingest.refusals import TryLaterError
from server.ingest.whole_scenes import Arrival, Prepared, WholeScenes
from server.repositories.memory import MemorySceneCatalogue
from server.repositories.removal import Removal
from server.repositories.repository import SceneCatalogue, StoredScene
from server.stores.files import FilePayloadStore
from server.stores.memory import MemoryPayloadStore
from server.stores.store import NewPayload, PayloadStore
from shared_models.errors import (
    IntegrityError,
    PayloadError,
    PermissionDeniedError,
    StorageError,
    StorageFullError,
    UpcycleError,
)
from shared_models.records import SceneManifest
from tests.loopback import make_scene

NOW_NS = 1_700_000_000 * 10**9


class TroubledCatalogue(MemorySceneCatalogue):
    """Adds no scene of those in `bad`, neither alone nor beside others."""

    bad: frozenset[str] = frozenset()

    def add_many(self, new: Sequence[StoredScene]) -> list[StoredScene | PermissionDeniedError]:
        if self.bad.intersection(scene.scene_id for scene in new):
            raise StorageError("the row cannot be written")
        return super().add_many(new)

    def add(self, *given: Any, **named: Any) -> StoredScene:
        if given[2] in self.bad:
            raise StorageError("the row cannot be written")
        return super().add(*given, **named)


class FullFor(FilePayloadStore):
    """Has no space for the payloads in `too_much`."""

    too_much: frozenset[str] = frozenset()

    def put_together(self, new: Sequence[NewPayload]) -> list[UpcycleError | None]:
        outcomes = super().put_together(new)
        return [
            StorageFullError("no space") if each.sha256 in self.too_much else outcome
            for each, outcome in zip(new, outcomes, strict=True)
        ]


def check_payload(manifest: SceneManifest, payload: bytes) -> str:
    if manifest.frame_id == "000009":
        raise PayloadError("the header says float16")
    return "none"


def make(store: PayloadStore, catalogue: SceneCatalogue) -> WholeScenes:
    quotas = VehicleQuotas(LimitsConfig(), catalogue, None, lambda: NOW_NS)
    completion = Completion(store, catalogue, check_payload, quotas, None, lambda: NOW_NS)
    return WholeScenes(store, completion, ThreadPoolExecutor(4), 2)


@pytest.fixture
def store(tmp_path: Path) -> FullFor:
    return FullFor(tmp_path)


def arrival(number: int, **changed: Any) -> Arrival:
    scene = make_scene(number, size=3000)
    given = {"scene_id": scene.manifest.scene_id, "manifest": scene.manifest, "payload": scene.payload}
    return Arrival(**{**given, **changed})


def prepared(scenes: WholeScenes, *numbers: int) -> list[Prepared]:
    found = [scenes.prepare(arrival(number)) for number in numbers]
    assert not [each for each in found if isinstance(each, UpcycleError)]
    return [each for each in found if isinstance(each, Prepared)]


def sha256(number: int) -> str:
    return arrival(number).manifest.payload_sha256


def test_all_are_stored_with_what_their_headers_say(store: FullFor) -> None:
    catalogue = MemorySceneCatalogue()
    scenes = make(store, catalogue)
    outcomes = scenes.take(prepared(scenes, 1, 2, 3))
    assert [type(each) for each in outcomes] == [Acknowledged] * 3
    assert [(s.scene_id, s.stored_at_ns, s.guard) for s in catalogue.scenes()] == [
        (arrival(number).scene_id, NOW_NS, "none") for number in (1, 2, 3)
    ]
    assert [store.read(sha256(number)) for number in (1, 2, 3)] == [arrival(n).payload for n in (1, 2, 3)]


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (arrival(1, payload=bytes(3000)), IntegrityError),
        (arrival(9), PayloadError),
    ],
)
def test_what_does_not_fit_its_manifest_is_not_written(
    store: FullFor, wrong: Arrival, error: type[UpcycleError]
) -> None:
    assert isinstance(make(store, MemorySceneCatalogue()).prepare(wrong), error)
    assert store.partial_bytes(wrong.scene_id) == 0


def test_who_has_no_room_is_refused_before_anything_is_written(store: FullFor) -> None:
    def refuse() -> None:
        raise TryLaterError("used up", 1.0, "stored_bytes")

    outcome = make(store, MemorySceneCatalogue()).prepare(arrival(1, make_room=refuse))
    assert isinstance(outcome, TryLaterError)
    assert store.partial_bytes(arrival(1).scene_id) == 0


def test_one_without_space_harms_no_other(store: FullFor) -> None:
    catalogue = MemorySceneCatalogue()
    scenes = make(store, catalogue)
    store.too_much = frozenset({sha256(2)})
    outcomes = scenes.take(prepared(scenes, 1, 2, 3))
    assert [type(each) for each in outcomes] == [Acknowledged, StorageFullError, Acknowledged]
    assert [store.has(sha256(number)) for number in (1, 2, 3)] == [True, False, True]
    assert catalogue.counts().scenes == 2


def test_one_whose_row_cannot_be_added_harms_no_other_and_leaves_no_payload(store: FullFor) -> None:
    catalogue = TroubledCatalogue()
    scenes = make(store, catalogue)
    catalogue.bad = frozenset({arrival(2).scene_id})
    outcomes = scenes.take(prepared(scenes, 1, 2, 3))
    assert [type(each) for each in outcomes] == [Acknowledged, StorageError, Acknowledged]
    assert [store.has(sha256(number)) for number in (1, 2, 3)] == [True, False, True]


def test_a_bug_in_the_catalogue_leaves_no_payload(store: FullFor) -> None:
    class Broken(MemorySceneCatalogue):
        def add_many(self, new: Sequence[StoredScene]) -> list[StoredScene | PermissionDeniedError]:
            raise ZeroDivisionError("a bug")

    scenes = make(store, Broken())
    with pytest.raises(ZeroDivisionError):
        scenes.take(prepared(scenes, 1, 2))
    assert not store.has(sha256(1))
    assert not store.has(sha256(2))


def test_what_is_stored_already_stays_as_it_was(store: FullFor) -> None:
    catalogue = MemorySceneCatalogue()
    scenes = make(store, catalogue)
    known = catalogue.add(arrival(1).manifest, 5, arrival(1).scene_id)
    first, second = scenes.take(prepared(scenes, 1, 2))
    assert first == Acknowledged(known, was_already_stored=True)
    assert isinstance(second, Acknowledged)
    assert not second.was_already_stored


def test_what_was_deleted_for_good_leaves_no_payload(store: FullFor) -> None:
    catalogue = MemorySceneCatalogue()
    scenes = make(store, catalogue)
    catalogue.add(arrival(1).manifest, 5, arrival(1).scene_id)
    catalogue.remove([arrival(1).scene_id], Removal(is_refused_again=True))
    outcomes = scenes.take(prepared(scenes, 1, 2))
    assert [type(each) for each in outcomes] == [PermissionDeniedError, Acknowledged]
    assert not store.has(sha256(1))


@pytest.mark.parametrize("kind", ["files", "memory"])
def test_from_the_loop_all_at_once(tmp_path: Path, kind: str) -> None:
    store: PayloadStore = FilePayloadStore(tmp_path) if kind == "files" else MemoryPayloadStore()
    catalogue = MemorySceneCatalogue()
    scenes = make(store, catalogue)

    async def add_all() -> list[Acknowledged | BaseException]:
        adding = [asyncio.create_task(scenes.add(arrival(number))) for number in (1, 2, 9, 3)]
        return await asyncio.gather(*adding, return_exceptions=True)

    outcomes = asyncio.run(add_all())
    assert [type(each) for each in outcomes] == [Acknowledged, Acknowledged, PayloadError, Acknowledged]
    assert catalogue.counts().scenes == 3
    assert not scenes.is_crowded


def test_one_that_fails_does_not_wait_for_its_neighbours_hold(store: FullFor) -> None:
    """Payloads share a lock by the first byte of their hash: removing one's takes it alone, the others hold it."""
    by_byte: dict[str, list[int]] = {}
    for number in range(1000, 2000):
        by_byte.setdefault(sha256(number)[:2], []).append(number)
        if len(by_byte[sha256(number)[:2]]) == 2:
            break
    pair = by_byte[sha256(number)[:2]]
    scenes = make(store, MemorySceneCatalogue())
    store.too_much = frozenset({sha256(pair[0])})
    with ThreadPoolExecutor(1) as thread:
        outcomes = thread.submit(scenes.take, prepared(scenes, *pair)).result(timeout=20)
    assert [type(each) for each in outcomes] == [StorageFullError, Acknowledged]
