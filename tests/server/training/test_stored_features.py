from __future__ import annotations

from pathlib import Path

import pytest
import torch

from server.repositories.access_log import Action
from server.repositories.archive import open_archive
from server.training.stored_features import StoreConfig, StoredScenes
from shared_models import guards
from shared_models.errors import ConfigError, InvalidValueError, NotFoundError, UnknownNameError
from tests.dashboard_data import encode, make_features, store

HASH, OTHER = "ab" * 32, "cd" * 32
ALL = StoreConfig(codec="float32")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Four scenes of car-1, two of car-2, one of another backbone."""
    folder = tmp_path_factory.mktemp("data")
    archive = open_archive(folder, is_new_allowed=True)
    for number in range(4):
        store(archive, encode(make_features(HASH, number), number), number)
    for number in range(2):
        store(archive, encode(make_features(HASH, 10 + number), number, vehicle="car-2"), 10 + number)
    store(archive, encode(make_features(OTHER, 20), 9), 20)
    archive.close()
    return folder


def named(scenes: StoredScenes) -> list[tuple[str, str]]:
    return [(scene.manifest.vehicle_id, scene.manifest.frame_id) for scene in scenes.scenes]


def test_scenes_of_this_backbone_in_an_order_of_their_own(data: Path) -> None:
    scenes = StoredScenes.open(data, HASH, ALL)
    expected = [("car-1", f"{n:06d}") for n in range(4)] + [("car-2", f"{n:06d}") for n in range(2)]
    assert sorted(named(scenes)) == expected
    hashes = [scene.manifest.payload_sha256 for scene in scenes.scenes]
    assert hashes == sorted(hashes)
    seeds = dict(zip(expected, (0, 1, 2, 3, 10, 11), strict=True))
    for number, name in enumerate(named(scenes)):
        sent, found = make_features(HASH, seeds[name]), scenes.features(number)
        assert torch.equal(found.grid.features, sent.grid.features)
        assert torch.equal(found.grid.coords, sent.grid.coords)
        assert found.backbone_hash == HASH


def test_order_does_not_follow_from_when_scenes_came(tmp_path: Path) -> None:
    orders = []
    for arrival in ((0, 1, 2, 3), (2, 0, 3, 1)):
        archive = open_archive(tmp_path / str(arrival[0]), is_new_allowed=True)
        for place, number in enumerate(arrival):
            store(archive, encode(make_features(HASH, number), number), place)
        archive.close()
        scenes = StoredScenes.open(tmp_path / str(arrival[0]), HASH, ALL).scenes
        orders.append([scene.manifest.frame_id for scene in scenes])
    assert orders[0] == orders[1]


def test_scenes_can_be_chosen(data: Path, tmp_path: Path) -> None:
    assert named(StoredScenes.open(data, OTHER, ALL)) == [("car-1", "000009")]
    own = StoreConfig(codec="float32", vehicle_id="car-2")
    assert sorted(named(StoredScenes.open(data, HASH, own))) == [("car-2", "000000"), ("car-2", "000001")]
    few = StoredScenes.open(tmp_path, HASH, StoreConfig(codec="float32", scenes=2, folder=str(data)))
    assert sorted(named(few)) == [("car-1", "000000"), ("car-1", "000001")]  # those that came first


def test_who_opens_scenes_for_training_is_logged(data: Path, tmp_path: Path) -> None:
    def logged() -> list[int]:
        archive = open_archive(data)
        try:
            return [entry.details["scenes"] for entry in archive.catalogue.log.entries(actions={Action.TRAIN})]
        finally:
            archive.close()

    before = logged()
    StoredScenes.open(data, HASH, ALL)
    StoredScenes.open(tmp_path, OTHER, StoreConfig(codec="float32", folder=str(data)))  # in the log of their own folder
    StoredScenes.look(data, HASH, ALL)  # nothing is learned from what is only looked for
    assert logged() == [*before, 6, 1]


def test_a_run_goes_on_with_the_scenes_that_it_began_with(data: Path) -> None:
    scenes = StoredScenes.open(data, HASH, ALL)
    ids = [scenes.scenes[number].scene_id for number in (5, 0)]
    chosen = scenes.only(ids)
    assert [scene.scene_id for scene in chosen.scenes] == ids
    assert torch.equal(chosen.features(0).grid.features, scenes.features(5).grid.features)
    with pytest.raises(ConfigError, match="1 of the 3 stored scenes that this run learns from are gone, such as 0000"):
        scenes.only([*ids, "0" * 64])


def test_scenes_of_different_guards_are_kept_apart(tmp_path: Path) -> None:
    noise = guards.build("noise,epsilon=100.0")
    archive = open_archive(tmp_path, is_new_allowed=True)
    for number in range(4):
        features = make_features(HASH, number)
        if number % 2:
            features = noise.apply(features, torch.Generator().manual_seed(number))
        scene = encode(features, number)
        if number < 2:
            archive.add(scene, number)
        else:  # as an older server did, whose catalogue knew nothing of guards
            archive._place(scene)
            archive.catalogue.add(scene.manifest, number)
    archive.close()
    plain, noisy = ("000000", "000002"), ("000001", "000003")

    def frames(guard: str) -> tuple[str, ...]:
        found = StoredScenes.open(tmp_path, HASH, StoreConfig(codec="float32", guard=guard))
        assert {found.features(number).guard for number in range(2)} == {"" if guard == "none" else noise.described()}
        return tuple(sorted(scene.manifest.frame_id for scene in found.scenes))

    assert frames("none") == plain
    assert frames("noise,epsilon=100.0") == frames(noise.described()) == noisy
    with pytest.raises(ConfigError, match=r"no stored scene has .* and guard noise,.*epsilon=8\.0"):
        StoredScenes.open(tmp_path, HASH, StoreConfig(codec="float32", guard="noise"))
    with pytest.raises(UnknownNameError, match="guard"):
        StoreConfig(guard="shield")


def test_what_is_missing_is_named(data: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no server data here"):
        StoredScenes.open(tmp_path, HASH, ALL)
    with pytest.raises(
        ConfigError, match=r"no stored scene has backbone ababababab.*, codec int8 and guard none, vehicle car-7"
    ):
        StoredScenes.open(data, HASH, StoreConfig(codec="int8", vehicle_id="car-7"))
    with pytest.raises(InvalidValueError, match=r"StoreConfig\.scenes"):
        StoreConfig(scenes=-1)
