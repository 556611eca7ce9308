"""Deletion by each filter, shared payloads, deletions that were cut off, and scenes that come back."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from server.records import deletion
from server.records.deletion import Deleted, delete, delete_batch, plan_scenes, plan_where, remove_left_over
from server.records.vehicle_names import stored_names
from server.records.verification import verify
from server.repositories.access_log import Action
from server.repositories.archive import SceneArchive, open_archive
from server.repositories.memory import MemorySceneCatalogue
from server.repositories.pseudonym import Pseudonyms
from server.repositories.removal import Removal
from server.repositories.repository import SceneFilter
from server.stores.memory import MemoryPayloadStore
from shared_models.errors import InvalidValueError, NotFoundError, PermissionDeniedError, StorageError
from shared_models.records import EncodedScene
from tests.loopback import make_scene

DAY_NS = 86_400 * 10**9
NOW_NS = 700 * 30 * DAY_NS + 5
REMOVAL = Removal(actor="user/ada", at_ns=NOW_NS)


@pytest.fixture
def small() -> SceneArchive:
    """Scenes 0 to 5, taken at 1000 + number, stored at number; in memory."""
    archive = SceneArchive(catalogue=MemorySceneCatalogue(), store=MemoryPayloadStore())
    for number in range(6):
        region = "north" if number < 2 else ""
        archive.add(make_scene(number, size=100, vehicle=f"car-{number % 2}", region=region), stored_at_ns=number)
    return archive


def with_payload_of(scene: EncodedScene, frame_id: str) -> EncodedScene:
    return EncodedScene(manifest=replace(scene.manifest, frame_id=frame_id), payload=scene.payload)


def left(archive: SceneArchive) -> list[int]:
    return [int(scene.manifest.frame_id) for scene in archive.catalogue.scenes()]


@pytest.mark.parametrize(
    ("where", "kept"),
    [
        (SceneFilter(vehicle_ids=frozenset({"car-1"})), [0, 2, 4]),
        (SceneFilter(region="north"), [2, 3, 4, 5]),
        (SceneFilter(taken_from_ns=1004), [0, 1, 2, 3]),
        (SceneFilter(taken_until_ns=1004), [4, 5]),
        (SceneFilter(stored_from_ns=1, stored_until_ns=3), [0, 3, 4, 5]),
        (SceneFilter(region="north", vehicle_ids=frozenset({"car-1"})), [0, 2, 3, 4, 5]),
        (SceneFilter(region="south"), [0, 1, 2, 3, 4, 5]),
    ],
)
def test_by_each_filter(small: SceneArchive, where: SceneFilter, kept: list[int]) -> None:
    plan = plan_where(small, where)
    assert left(small) == [0, 1, 2, 3, 4, 5]  # looking deletes nothing
    gone = 6 - len(kept)
    assert (len(plan.scene_ids), plan.payload_bytes) == (gone, 100 * gone)
    assert delete(small, plan, REMOVAL) == Deleted(scenes=gone, payloads=gone, payload_bytes=100 * gone)
    assert left(small) == kept
    assert sorted(small.store._payloads) == sorted(  # type: ignore[attr-defined]
        scene.manifest.payload_sha256 for scene in small.catalogue.scenes()
    )
    assert verify(small).is_sound


def test_what_the_log_says(small: SceneArchive) -> None:
    delete(small, plan_where(small, SceneFilter(vehicle_ids=frozenset({"car-1"}), taken_until_ns=1004)), REMOVAL)
    why, *gone = list(small.catalogue.log.entries(after=6))
    assert (why.action, why.actor, why.at_ns) == ("delete", "user/ada", NOW_NS)
    assert why.details["scenes"] == 2
    assert why.details["taken_until_ns"] == 1004
    assert [(entry.action, entry.subject) for entry in gone] == [
        ("removed", make_scene(number, size=100, vehicle="car-1", region="").manifest.scene_id) for number in (1, 3)
    ]
    assert gone[0].payload_sha256 == make_scene(1, size=100, vehicle="car-1").manifest.payload_sha256
    assert not any("car-1" in entry.detail + entry.actor + entry.subject for entry in (why, *gone))


def test_no_filter_is_not_everything(small: SceneArchive) -> None:
    with pytest.raises(InvalidValueError, match="got nothing"):
        plan_where(small, SceneFilter())


def test_by_scene_id_and_what_has_only_begun_to_come(small: SceneArchive) -> None:
    half = make_scene(40)
    partial = small.store.open_partial(half.manifest.scene_id)
    partial.append(half.payload[:10])
    partial.close()
    ids = [scene.scene_id for scene in small.catalogue.scenes()]
    plan = plan_scenes(small, [ids[0], ids[1][:20], half.manifest.scene_id])
    assert (plan.scene_ids, plan.half_sent) == ((ids[0], ids[1]), (half.manifest.scene_id,))
    delete(small, plan, REMOVAL)
    assert left(small) == [2, 3, 4, 5]
    assert small.store.partial_bytes(half.manifest.scene_id) == 0
    with pytest.raises(NotFoundError, match="no scene"):
        plan_scenes(small, [ids[0]])


def test_more_than_one_batch(small: SceneArchive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deletion, "BATCH", 2)
    steps: list[tuple[int, int]] = []
    plan = plan_where(small, SceneFilter(stored_from_ns=1))
    assert delete(small, plan, REMOVAL, lambda done, of: steps.append((done, of))).scenes == 5
    assert steps == [(2, 5), (4, 5), (5, 5)]
    assert [entry.action for entry in small.catalogue.log.entries(after=6)].count("delete") == 3
    assert verify(small).is_sound


def test_a_shared_payload_stays_while_another_scene_needs_it(archive: SceneArchive) -> None:
    first = make_scene(0)
    ids = [archive.add(each, stored_at_ns=1).scene_id for each in (first, with_payload_of(first, "again"))]
    one = delete(archive, plan_scenes(archive, ids[:1]), REMOVAL)
    assert (one.scenes, one.payloads, one.payload_bytes) == (1, 0, 0)
    assert archive.store.read(first.manifest.payload_sha256) == first.payload
    two = delete(archive, plan_scenes(archive, ids[1:]), REMOVAL)
    assert (two.payloads, two.payload_bytes) == (1, len(first.payload))
    assert not archive.store.has(first.manifest.payload_sha256)


def test_two_scenes_with_one_payload_at_once(small: SceneArchive) -> None:
    first = make_scene(50, size=100)
    ids = [small.add(each, stored_at_ns=50).scene_id for each in (first, with_payload_of(first, "again"))]
    assert delete(small, plan_scenes(small, ids), REMOVAL) == Deleted(scenes=2, payloads=1, payload_bytes=100)


def test_a_deletion_that_was_cut_off_is_finished_by_the_next(small: SceneArchive) -> None:
    ids = [scene.scene_id for scene in small.catalogue.scenes()][:2]
    small.catalogue.remove(ids, REMOVAL)  # and then the power went
    assert len(small.store._payloads) == 6  # type: ignore[attr-defined]
    assert verify(small).left_over == 2
    assert verify(small).is_sound
    assert remove_left_over(small) == 2
    assert len(small.store._payloads) == 4  # type: ignore[attr-defined]
    assert remove_left_over(small) == 0
    assert verify(small).left_over == 0


def test_rows_are_gone_where_a_file_cannot_be_removed(archive: SceneArchive, monkeypatch: pytest.MonkeyPatch) -> None:
    scene_id = archive.add(make_scene(0), stored_at_ns=1).scene_id
    plan = plan_scenes(archive, [scene_id])

    def fail(_sha256: str) -> None:
        raise StorageError("the disk is read-only")

    with monkeypatch.context() as broken:
        broken.setattr(archive.store, "remove", fail)
        with pytest.raises(StorageError, match="read-only"):
            delete(archive, plan, REMOVAL)
    assert archive.catalogue.counts().scenes == 0
    assert verify(archive).is_sound
    assert remove_left_over(archive) == 1


@pytest.mark.parametrize("is_refused_again", [False, True])
def test_a_deleted_scene_that_comes_again(archive: SceneArchive, is_refused_again: bool) -> None:
    scene = make_scene(0)
    scene_id = archive.add(scene, stored_at_ns=1).scene_id
    delete(archive, plan_scenes(archive, [scene_id]), replace(REMOVAL, is_refused_again=is_refused_again))
    assert archive.catalogue.is_refused(scene_id) is is_refused_again
    if is_refused_again:
        with pytest.raises(PermissionDeniedError, match="deleted by the operator"):
            archive.catalogue.add(scene.manifest, stored_at_ns=2)
        assert archive.catalogue.counts().scenes == 0
    else:
        assert archive.add(scene, stored_at_ns=2).stored_at_ns == 2
        assert archive.encoded(archive.catalogue.get(scene_id)).payload == scene.payload
    assert verify(archive).is_sound


@pytest.mark.parametrize("is_refused_again", [False, True])
def test_a_half_sent_scene_that_is_deleted(archive: SceneArchive, is_refused_again: bool) -> None:
    scene = make_scene(0)
    scene_id = scene.manifest.scene_id
    partial = archive.store.open_partial(scene_id)
    partial.append(scene.payload[:100])
    partial.close()
    delete(archive, plan_scenes(archive, [scene_id]), replace(REMOVAL, is_refused_again=is_refused_again))
    assert archive.store.partial_bytes(scene_id) == 0
    assert archive.catalogue.is_refused(scene_id) is is_refused_again
    assert verify(archive).is_sound


def test_a_payload_that_is_being_placed_is_waited_for(archive: SceneArchive, data: Path) -> None:
    """Another process deletes the last row of a payload while a server stores a second scene with it."""
    first = make_scene(0)
    second, sha256 = with_payload_of(first, "again"), first.manifest.payload_sha256
    scene_id = archive.add(first, stored_at_ns=1).scene_id
    other = open_archive(data, is_new_allowed=True)  # its locks are another process's for the system
    has_removed_rows, deleted = threading.Event(), list[Deleted]()
    remove = other.catalogue.remove

    def told(*arguments: object) -> object:
        gone = remove(*arguments)  # type: ignore[arg-type]
        has_removed_rows.set()
        return gone

    other.catalogue.remove = told  # type: ignore[assignment, method-assign]
    deleting = threading.Thread(target=lambda: deleted.append(delete_batch(other, [scene_id], REMOVAL)))
    with archive.store.hold(sha256):
        deleting.start()
        assert has_removed_rows.wait(30)
        assert archive.store.has(sha256)  # committed, its second row is not there yet
        archive.catalogue.add(second.manifest, stored_at_ns=2)
    deleting.join(30)
    assert deleted == [Deleted(scenes=1)]
    assert archive.encoded(archive.catalogue.get(second.manifest.scene_id)).payload == first.payload
    other.close()


def test_storing_and_deleting_the_same_payload_all_the_time(archive: SceneArchive, data: Path) -> None:
    other, scene, is_over = open_archive(data, is_new_allowed=True), make_scene(0, size=50), threading.Event()

    def keep_deleting() -> None:
        while not is_over.is_set():
            delete_batch(other, [each.scene_id for each in other.catalogue.scenes()], REMOVAL)

    deleting = threading.Thread(target=keep_deleting)
    deleting.start()
    for number in range(60):
        archive.add(with_payload_of(scene, f"{number}"), stored_at_ns=number)
    is_over.set()
    deleting.join(30)
    archive.add(with_payload_of(scene, "last"), stored_at_ns=99)
    assert all(archive.encoded(stored).payload == scene.payload for stored in archive.catalogue.scenes())
    assert verify(archive).is_sound
    other.close()


def test_a_vehicle_by_its_plain_name_under_tags_of_three_periods() -> None:
    catalogue, pseudonyms = MemorySceneCatalogue(), Pseudonyms(b"k" * 32)
    for number, at_ns in enumerate((NOW_NS - 300 * DAY_NS, NOW_NS - 40 * DAY_NS, NOW_NS)):
        for vehicle in ("car-1", "car-2"):
            manifest = make_scene(number, vehicle=vehicle).manifest
            named = replace(manifest, vehicle_id=pseudonyms.stored_name(vehicle, at_ns))
            catalogue.add(named, at_ns, manifest.scene_id)
    catalogue.add(make_scene(9, vehicle="car-1").manifest, stored_at_ns=1)  # before there was a key
    names = stored_names(catalogue, "car-1", pseudonyms)
    assert len(names) == 4
    assert "car-1" in names
    found = list(catalogue.scenes(SceneFilter(vehicle_ids=names)))
    assert {scene.scene_id for scene in found} == {
        make_scene(number, vehicle="car-1").manifest.scene_id for number in (0, 1, 2, 9)
    }
    tag = pseudonyms.tag("car-2", NOW_NS)
    assert stored_names(catalogue, tag, None) == stored_names(catalogue, f"tag:{tag}", None) == {f"tag:{tag}"}
    with pytest.raises(NotFoundError, match="without the key"):
        stored_names(catalogue, "car-2", None)
    with pytest.raises(NotFoundError, match="nothing is stored of a vehicle 'car-3'"):
        stored_names(catalogue, "car-3", pseudonyms)


def test_retention_is_told_from_deletion(small: SceneArchive) -> None:
    delete_batch(
        small, [scene.scene_id for scene in small.catalogue.scenes()], replace(REMOVAL, action=Action.RETENTION)
    )
    assert [entry.action for entry in small.catalogue.log.entries(after=6)] == ["retention", *["removed"] * 6]
