"""What every scene catalogue must do; runs over every name in the table."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from server.repositories import CATALOGUES, DATABASES, RUN_LOGS, sql_catalogue
from server.repositories.memory import MemorySceneCatalogue
from server.repositories.postgres import PostgresDatabase
from server.repositories.removal import Removal
from server.repositories.repository import CatalogueCounts, SceneCatalogue, SceneFilter, StoredScene, VehicleSummary
from server.repositories.sql_catalogue import SqlSceneCatalogue
from server.repositories.sqlite import SqliteFile
from server.stores import STORES
from shared_models import table
from shared_models.errors import InvalidValueError, NotFoundError, PermissionDeniedError
from shared_models.records import SceneManifest
from tests.loopback import make_scene


@pytest.fixture(params=["memory", *sorted(DATABASES)])
def catalogue(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SceneCatalogue]:
    opened: SceneCatalogue
    match request.param:
        case "memory":
            opened = MemorySceneCatalogue()
        case "sqlite":
            opened = SqlSceneCatalogue(SqliteFile(tmp_path / "catalogue.sqlite"))
        case "postgresql":
            opened = SqlSceneCatalogue(PostgresDatabase(request.getfixturevalue("postgres").empty_database()))
    yield opened
    opened.close()


def manifest(number: int, **changed: str) -> SceneManifest:
    return make_scene(number, size=number + 1, **changed).manifest


def test_scene_comes_back_as_it_went_in(catalogue: SceneCatalogue) -> None:
    added = catalogue.add(manifest(3), stored_at_ns=2**62)
    assert list(catalogue.scenes()) == [added]
    assert added.manifest == manifest(3)
    assert added.stored_at_ns == 2**62


def test_second_add_changes_nothing(catalogue: SceneCatalogue) -> None:
    first = catalogue.add(manifest(1), stored_at_ns=10)
    assert catalogue.add(manifest(1), stored_at_ns=20) == first
    assert catalogue.counts() == CatalogueCounts(scenes=1, payload_bytes=2)


def new(number: int, stored_at_ns: int = 0) -> StoredScene:
    return StoredScene(manifest=manifest(number), stored_at_ns=stored_at_ns, scene_id=manifest(number).scene_id)


def test_several_are_added_in_their_order(catalogue: SceneCatalogue) -> None:
    numbers = [5, 2, 9, 1]
    assert catalogue.add_many([new(number, number) for number in numbers]) == [new(n, n) for n in numbers]
    assert list(catalogue.scenes()) == [new(n, n) for n in numbers]
    assert [entry.subject for entry in catalogue.log.entries()] == [new(n).scene_id for n in numbers]
    assert catalogue.add_many([]) == []


def test_of_several_the_known_and_the_refused_are_told_apart(catalogue: SceneCatalogue) -> None:
    stored, deleted = catalogue.add(manifest(1), stored_at_ns=10), catalogue.add(manifest(2), stored_at_ns=11)
    catalogue.remove([deleted.scene_id], Removal(actor="user/test", at_ns=12, is_refused_again=True))
    answers = catalogue.add_many([new(3, 20), new(1, 21), new(2, 22), new(3, 23), new(4, 24)])
    assert [answers[number] for number in (0, 1, 3, 4)] == [new(3, 20), stored, new(3, 20), new(4, 24)]
    assert isinstance(answers[2], PermissionDeniedError)
    assert [each.scene_id for each in catalogue.scenes()] == [new(number).scene_id for number in (1, 3, 4)]
    uploads = [entry.subject for entry in catalogue.log.entries() if entry.action == "upload"]
    assert uploads == [new(number).scene_id for number in (1, 2, 3, 4)]


def test_more_added_than_one_page(catalogue: SceneCatalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql_catalogue, "_PAGE", 4)
    assert catalogue.add_many([new(number) for number in range(7)]) == [new(number) for number in range(7)]
    assert list(catalogue.scenes()) == [new(number) for number in range(7)]


def test_scenes_that_were_never_stored_are_refused_and_logged_once(catalogue: SceneCatalogue) -> None:
    ids = [make_scene(number).manifest.scene_id for number in (1, 2)]
    removal = Removal(actor="operator/one", at_ns=5, is_refused_again=True)
    for _ in range(2):
        catalogue.refuse(ids, removal)
    catalogue.refuse([], removal)
    assert [catalogue.is_refused(scene_id) for scene_id in ids] == [True, True]
    with pytest.raises(PermissionDeniedError, match="deleted by the operator"):
        catalogue.add(make_scene(1).manifest, stored_at_ns=6)
    (entry,) = catalogue.log.entries()
    assert (entry.actor, entry.at_ns, entry.action, entry.details["half_sent"]) == ("operator/one", 5, "delete", 2)


def test_known_tells_new_stored_and_refused_apart(catalogue: SceneCatalogue) -> None:
    stored, deleted = catalogue.add(manifest(1), stored_at_ns=10), catalogue.add(manifest(2), stored_at_ns=11)
    catalogue.remove([deleted.scene_id], Removal(actor="user/test", at_ns=12, is_refused_again=True))
    assert catalogue.known(stored.scene_id) == stored
    assert catalogue.known(new(3).scene_id) is None
    with pytest.raises(PermissionDeniedError, match="deleted by the operator"):
        catalogue.known(deleted.scene_id)


def test_order_is_that_of_adding(catalogue: SceneCatalogue) -> None:
    numbers = [5, 2, 9, 1]
    for number in numbers:
        catalogue.add(manifest(number), stored_at_ns=0)
    assert [stored.manifest.frame_id for stored in catalogue.scenes()] == [f"{n:06d}" for n in numbers]


def test_more_scenes_than_one_page(catalogue: SceneCatalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql_catalogue, "_PAGE", 20)
    ids = [catalogue.add(manifest(number), stored_at_ns=number).scene_id for number in range(50)]
    assert [stored.scene_id for stored in catalogue.scenes()] == ids
    assert list(catalogue.find(ids)) != []
    assert set(catalogue.find([*ids, "0" * 64])) == set(ids)


@pytest.mark.parametrize(
    ("where", "frames"),
    [
        (SceneFilter(), ["000000", "000001", "000002"]),
        (SceneFilter(vehicle_id="car-2"), ["000001"]),
        (SceneFilter(codec="float32"), ["000002"]),
        (SceneFilter(codec="float32", vehicle_id="car-2"), []),
        (SceneFilter(backbone_hash="ab" * 32, split_layer="conv_out"), ["000000", "000001", "000002"]),
        (SceneFilter(region="north"), ["000001", "000002"]),
        (SceneFilter(region=""), ["000000"]),
        (SceneFilter(region="south"), []),
        (SceneFilter(vehicle_ids=frozenset({"car-1", "car-3"})), ["000000", "000002"]),
        (SceneFilter(vehicle_ids=frozenset({"car-1", "car-2"}), vehicle_id="car-2"), ["000001"]),
        (SceneFilter(vehicle_ids=frozenset()), []),
        (SceneFilter(taken_from_ns=1_001), ["000001", "000002"]),
        (SceneFilter(taken_until_ns=1_001), ["000000"]),
        (SceneFilter(taken_from_ns=1_001, taken_until_ns=1_002), ["000001"]),
        (SceneFilter(taken_from_ns=1_001, taken_until_ns=1_001), []),
        (SceneFilter(stored_from_ns=20), ["000001", "000002"]),
        (SceneFilter(stored_until_ns=30), ["000000", "000001"]),
        (SceneFilter(stored_from_ns=20, stored_until_ns=30, region="north"), ["000001"]),
    ],
)
def test_filters(catalogue: SceneCatalogue, where: SceneFilter, frames: list[str]) -> None:
    catalogue.add(manifest(0), stored_at_ns=10)
    catalogue.add(manifest(1, vehicle="car-2", region="north"), stored_at_ns=20)
    catalogue.add(manifest(2, codec="float32", region="north"), stored_at_ns=30)
    assert [stored.manifest.frame_id for stored in catalogue.scenes(where)] == frames
    assert [stored.manifest.frame_id for stored in catalogue.newest(9, where=where)] == frames[::-1]
    assert catalogue.counts(where).scenes == len(frames)


@pytest.mark.parametrize(
    "bounds", [{"taken_from_ns": 2, "taken_until_ns": 1}, {"stored_from_ns": 5, "stored_until_ns": 0}]
)
def test_interval_that_ends_before_it_begins(bounds: dict[str, int]) -> None:
    with pytest.raises(InvalidValueError, match="expected at most"):
        SceneFilter(**bounds)  # type: ignore[arg-type]


def test_region_comes_back(catalogue: SceneCatalogue) -> None:
    added = catalogue.add(manifest(1, region="north bank, 2nd"), stored_at_ns=0)
    assert catalogue.get(added.scene_id).manifest.region == "north bank, 2nd"


def test_guard_comes_back_and_is_filtered_by(catalogue: SceneCatalogue) -> None:
    guards = ["none", "noise,clip_norm=4.0,delta=1e-06,epsilon=8.0", "g" * 400, ""]
    added = [catalogue.add(manifest(n), stored_at_ns=n, guard=guard) for n, guard in enumerate(guards)]
    several = [replace(new(number, number), guard=guards[number % 2]) for number in (4, 5)]
    assert catalogue.add_many(several) == several
    assert [stored.guard for stored in catalogue.scenes()] == [*guards, *guards[:2]]
    assert catalogue.get(added[2].scene_id).guard == guards[2]
    assert list(catalogue.scenes(SceneFilter(guard="none"))) == [added[0], several[0]]
    assert list(catalogue.scenes(SceneFilter(guard=guards[1]))) == [added[1], several[1]]
    assert list(catalogue.scenes(SceneFilter(guard=""))) == [added[3]]
    assert catalogue.counts(SceneFilter(guard="channels")).scenes == 0
    assert catalogue.remove([added[1].scene_id]) == [added[1]]


def test_scene_that_comes_again_keeps_its_guard(catalogue: SceneCatalogue) -> None:
    first = catalogue.add(manifest(1), stored_at_ns=1, guard="none")
    assert catalogue.add(manifest(1), stored_at_ns=2, guard="decoys") == first


def test_removed_scenes_are_gone_and_given_back(catalogue: SceneCatalogue) -> None:
    stored = [catalogue.add(manifest(number), stored_at_ns=number) for number in range(4)]
    ids = [scene.scene_id for scene in stored]
    assert catalogue.remove([ids[2], "0" * 64, ids[1], ids[2]]) == [stored[1], stored[2]]
    assert list(catalogue.scenes()) == [stored[0], stored[3]]
    assert not catalogue.has_payload(stored[1].manifest.payload_sha256)
    assert catalogue.remove(ids[1:3]) == []
    assert catalogue.remove([]) == []
    again = catalogue.add(manifest(1), stored_at_ns=9)
    assert list(catalogue.scenes()) == [stored[0], stored[3], again]


def test_more_removed_than_one_page(catalogue: SceneCatalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql_catalogue, "_PAGE", 20)
    ids = [catalogue.add(manifest(number), stored_at_ns=number).scene_id for number in range(50)]
    assert [scene.scene_id for scene in catalogue.remove(ids[:0:-1])] == ids[1:]
    assert [scene.scene_id for scene in catalogue.scenes()] == ids[:1]


def test_payload_that_another_scene_has_stays_referred_to(catalogue: SceneCatalogue) -> None:
    first, second = manifest(1), replace(manifest(1), frame_id="again")
    ids = [catalogue.add(each, stored_at_ns=0).scene_id for each in (first, second)]
    catalogue.remove(ids[:1])
    assert catalogue.has_payload(first.payload_sha256)
    catalogue.remove(ids)
    assert not catalogue.has_payload(first.payload_sha256)


def test_get_by_unique_prefix(catalogue: SceneCatalogue) -> None:
    stored = [catalogue.add(manifest(number), stored_at_ns=0) for number in range(40)]
    assert catalogue.get(stored[7].scene_id) == stored[7]
    assert catalogue.get(stored[7].scene_id[:20]) == stored[7]
    shared = next(c for c in "0123456789abcdef" if sum(s.scene_id.startswith(c) for s in stored) > 1)
    with pytest.raises(NotFoundError, match="several scenes begin with"):
        catalogue.get(shared)


def test_get_unknown_or_malformed(catalogue: SceneCatalogue) -> None:
    with pytest.raises(NotFoundError, match="no scene 0123"):
        catalogue.get("0123")
    for wrong in ("", "xyz", "%", "AB"):
        with pytest.raises(InvalidValueError, match="hexadecimal"):
            catalogue.get(wrong)


def test_threads_may_add_at_once(catalogue: SceneCatalogue) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda n: catalogue.add(manifest(n % 50), stored_at_ns=n), range(200)))
    assert catalogue.counts().scenes == 50


def test_payloads_of_stored_scenes(catalogue: SceneCatalogue) -> None:
    stored = catalogue.add(manifest(1), stored_at_ns=0)
    assert catalogue.has_payload(stored.manifest.payload_sha256)
    assert not catalogue.has_payload("0" * 64)


def test_newest_first_and_paged(catalogue: SceneCatalogue) -> None:
    for number in range(7):
        catalogue.add(manifest(number, vehicle=f"car-{number % 2}"), stored_at_ns=100 - number)

    def frames(limit: int, offset: int, where: SceneFilter | None = None) -> list[int]:
        return [int(stored.manifest.frame_id) for stored in catalogue.newest(limit, offset, where)]

    assert frames(3, 0) == [6, 5, 4]
    assert frames(3, 6) == [0]
    assert frames(3, 9) == []
    assert frames(2, 1, SceneFilter(vehicle_id="car-1")) == [3, 1]
    assert catalogue.counts(SceneFilter(vehicle_id="car-1")) == CatalogueCounts(scenes=3, payload_bytes=2 + 4 + 6)


def test_what_is_stored_of_each_vehicle(catalogue: SceneCatalogue) -> None:
    assert catalogue.vehicles() == []
    catalogue.add(manifest(4, vehicle="b"), stored_at_ns=30)
    catalogue.add(manifest(1, vehicle="a", codec="int8"), stored_at_ns=20)
    catalogue.add(manifest(2, vehicle="a", codec="float32", backbone_hash="0" * 64), stored_at_ns=10)
    assert catalogue.vehicles() == [
        VehicleSummary(
            vehicle_id="a",
            scenes=2,
            payload_bytes=2 + 3,
            last_stored_at_ns=20,
            codecs=("float32", "int8"),
            backbone_hashes=("0" * 64, "ab" * 32),
        ),
        VehicleSummary(
            vehicle_id="b",
            scenes=1,
            payload_bytes=5,
            last_stored_at_ns=30,
            codecs=("int8",),
            backbone_hashes=("ab" * 32,),
        ),
    ]


def test_the_first_of_several_servers_says_what_holds(catalogue: SceneCatalogue) -> None:
    assert catalogue.agree("key", "a") == "a"
    assert catalogue.agree("key", "b") == "a"
    assert catalogue.agree("other", "b") == "b"


@pytest.mark.parametrize(
    "names", [CATALOGUES, DATABASES, RUN_LOGS, STORES], ids=["catalogue", "database", "log", "store"]
)
def test_every_name_of_the_tables_is_there(names: dict[str, str]) -> None:
    for name in names:
        assert isinstance(table.load(names, "part", name), type)
