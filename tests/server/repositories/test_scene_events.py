"""Catalogues log what comes and goes, and nothing that did not."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from alembic import command

from server.records.verification import verify
from server.repositories.archive import SceneArchive, open_archive
from server.repositories.memory import MemorySceneCatalogue
from server.repositories.migrate import alembic_config
from server.repositories.postgres import PostgresDatabase
from server.repositories.pseudonym import Pseudonyms, vehicle_tag
from server.repositories.removal import Removal
from server.repositories.repository import SceneCatalogue
from server.repositories.sql_catalogue import SqlSceneCatalogue
from server.repositories.sqlite import SqliteFile
from server.stores.memory import MemoryPayloadStore
from shared_models.errors import PermissionDeniedError
from tests.loopback import make_scene

REMOVAL = Removal(actor="operator/olaf", at_ns=7)


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def catalogue(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SceneCatalogue]:
    opened: SceneCatalogue
    if request.param == "memory":
        opened = MemorySceneCatalogue()
    elif request.param == "postgres":
        opened = SqlSceneCatalogue(PostgresDatabase(request.getfixturevalue("postgres").empty_database()))
    else:
        opened = SqlSceneCatalogue(SqliteFile(tmp_path / "catalogue.sqlite"))
    yield opened
    opened.close()


def test_an_upload_once(catalogue: SceneCatalogue) -> None:
    manifest = make_scene(vehicle="car-1").manifest
    name = Pseudonyms(b"k" * 32).stored_name("car-1", 5)
    for at_ns in (5, 6):
        catalogue.add(replace(manifest, vehicle_id=name), at_ns, manifest.scene_id)
    (entry,) = catalogue.log.entries()
    assert (entry.at_ns, entry.actor, entry.action) == (5, f"vehicle/{vehicle_tag(name)}", "upload")
    assert entry.subject == manifest.scene_id
    assert (entry.payload_sha256, entry.details["bytes"]) == (manifest.payload_sha256, manifest.payload_bytes)


def test_who_adds_and_who_removes(catalogue: SceneCatalogue) -> None:
    ids = [catalogue.add(make_scene(n).manifest, n, actor="user/ada").scene_id for n in range(3)]
    catalogue.remove([ids[0], ids[2], "0" * 64], REMOVAL)
    catalogue.remove(ids[:1], REMOVAL)  # gone already: nothing to log
    found = [(entry.actor, entry.action, entry.subject) for entry in catalogue.log.entries()]
    assert found == [
        *[("user/ada", "upload", scene_id) for scene_id in ids],
        ("operator/olaf", "delete", ""),
        ("operator/olaf", "removed", ids[0]),
        ("operator/olaf", "removed", ids[2]),
    ]


def test_refused_scenes_stay_refused(catalogue: SceneCatalogue) -> None:
    ids = [catalogue.add(make_scene(n).manifest, n).scene_id for n in range(2)]
    catalogue.remove(ids[:1], replace(REMOVAL, is_refused_again=True))
    catalogue.remove(ids[:1], REMOVAL)
    assert [catalogue.is_refused(scene_id) for scene_id in ids] == [True, False]
    with pytest.raises(PermissionDeniedError, match="not taken again"):
        catalogue.add(make_scene(0).manifest, 9)
    assert catalogue.add(make_scene(1).manifest, 9).stored_at_ns == 1
    assert len(list(catalogue.log.entries())) == 4


def test_payloads_of_removed_scenes_are_remembered_until_dealt_with(catalogue: SceneCatalogue) -> None:
    scenes = [catalogue.add(make_scene(n).manifest, n) for n in range(3)]
    hashes = sorted(scene.manifest.payload_sha256 for scene in scenes)
    catalogue.remove([scene.scene_id for scene in scenes], REMOVAL)
    catalogue.add(make_scene(0).manifest, 9)
    catalogue.remove([scenes[0].scene_id], REMOVAL)  # remembered already
    assert sorted(catalogue.payloads_to_remove()) == hashes
    catalogue.payloads_dealt_with(hashes[:2])
    assert catalogue.payloads_to_remove() == hashes[2:]
    catalogue.payloads_dealt_with([])


def test_scenes_that_were_there_before_the_log(tmp_path: Path) -> None:
    """A catalogue of the schema before is brought up, with an entry for each scene that it holds."""
    path = tmp_path / "catalogue.sqlite"
    catalogue = SqlSceneCatalogue(SqliteFile(path))
    tagged = replace(make_scene(0).manifest, vehicle_id="tag:0123456789abcdef")
    stored = [catalogue.add(each, n + 10) for n, each in enumerate((tagged, make_scene(1).manifest))]
    with catalogue.database.transaction(is_writing=True) as connection:
        command.downgrade(alembic_config(connection), "0003")
    catalogue.close()
    with sqlite3.connect(path) as database:
        assert not database.execute("SELECT name FROM sqlite_master WHERE name LIKE 'access_log%'").fetchall()
    database.close()
    archive = open_archive(tmp_path, is_new_allowed=True)
    assert verify(SceneArchive(catalogue=archive.catalogue, store=MemoryPayloadStore())).is_sound
    found = [(entry.at_ns, entry.actor, entry.subject) for entry in archive.catalogue.log.entries()]
    assert found == [(10 + n, "server/migration", scene.scene_id) for n, scene in enumerate(stored)]
    vehicles = [entry.details["vehicle"] for entry in archive.catalogue.log.entries()]
    assert vehicles == [vehicle_tag("tag:0123456789abcdef"), vehicle_tag("car-1")]
    archive.catalogue.add(make_scene(2).manifest, 20)
    assert verify(archive).entries == 3
    archive.close()
