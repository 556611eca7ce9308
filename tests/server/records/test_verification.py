"""Every way in which somebody may change log or catalogue is seen, or only with a head that was kept elsewhere."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from server.records.deletion import delete, plan_scenes
from server.records.verification import Broken, verify
from server.repositories.access_log import Action, Entry, Event, Head, chained
from server.repositories.archive import SceneArchive, open_archive
from server.repositories.memory import MemorySceneCatalogue
from server.repositories.removal import Removal
from server.stores.memory import MemoryPayloadStore
from shared_models.errors import StorageError
from tests.loopback import make_scene

FILLED = 6


@pytest.fixture
def filled(archive: SceneArchive) -> SceneArchive:
    """Five uploads and a reading; entry 6 is the last."""
    for number in range(FILLED - 1):
        archive.add(make_scene(number), stored_at_ns=number)
    archive.catalogue.log.append([Event(at_ns=9, actor="auditor/ann", action=Action.READ, subject="x")])
    return archive


def tamper(data: Path, *statements: str, values: Sequence[object] = ()) -> None:
    with sqlite3.connect(data / "catalogue.sqlite") as database:
        for name in ("access_log_no_update", "access_log_no_delete"):
            database.execute(f"DROP TRIGGER IF EXISTS {name}")
        for statement in statements:
            database.execute(statement, values)
    database.close()


def test_an_untouched_log(filled: SceneArchive) -> None:
    verdict = verify(filled)
    assert verdict.is_sound
    assert (verdict.entries, verdict.head) == (FILLED, filled.catalogue.log.head())
    assert verdict.is_expected_head_there is None
    for entry in filled.catalogue.log.entries():
        assert verify(filled, entry.sha256).is_sound
    assert verify(filled, "0" * 64).is_expected_head_there is False
    assert not verify(filled, "0" * 64).is_sound


def test_nothing_at_all() -> None:
    verdict = verify(SceneArchive(catalogue=MemorySceneCatalogue(), store=MemoryPayloadStore()))
    assert (verdict.is_sound, verdict.entries, verdict.head) == (True, 0, Head())


@pytest.mark.parametrize(
    "change",
    ["at_ns = 77", "actor = 'user/eve'", "action = 'list'", "subject = 'y'", "detail = '{}'", "sha256 = 'ab'"],
)
def test_a_changed_entry(filled: SceneArchive, data: Path, change: str) -> None:
    tamper(data, f"UPDATE access_log SET {change} WHERE sequence = 3")
    assert verify(filled).broken == Broken(sequence=3, what="changed: its hash does not follow from what it says")


def test_a_changed_entry_with_a_hash_that_fits(filled: SceneArchive, data: Path) -> None:
    third = list(filled.catalogue.log.entries())[2]
    forged = Entry(**{**{name: getattr(third, name) for name in Entry.__slots__}, "actor": "vehicle/00000000"})
    change = "UPDATE access_log SET actor = ?, sha256 = ? WHERE sequence = 3"
    tamper(data, change, values=(forged.actor, forged.expected_sha256))
    broken = verify(filled).broken
    assert broken is not None
    assert broken.sequence == 4
    assert "does not follow the entry before" in broken.what


@pytest.mark.parametrize(
    ("gone", "what"),
    [("= 3", "entry 3 is missing"), ("IN (3, 4)", "entries 3 to 4 are missing"), ("= 1", "entry 1 is missing")],
)
def test_missing_entries(filled: SceneArchive, data: Path, gone: str, what: str) -> None:
    tamper(data, f"DELETE FROM access_log WHERE sequence {gone}")
    broken = verify(filled).broken
    assert broken is not None
    assert broken.what == what


def test_a_gap_that_was_closed(filled: SceneArchive, data: Path) -> None:
    move = "UPDATE access_log SET sequence = sequence - 1 WHERE sequence > 3"
    tamper(data, "DELETE FROM access_log WHERE sequence = 3", move)
    broken = verify(filled).broken
    assert broken is not None
    assert broken.sequence == 3


def test_two_entries_in_the_other_order(filled: SceneArchive, data: Path) -> None:
    moves = ((2, 99), (3, 2), (99, 3))
    tamper(data, *(f"UPDATE access_log SET sequence = {new} WHERE sequence = {old}" for old, new in moves))
    broken = verify(filled).broken
    assert broken is not None
    assert broken.sequence == 2


def test_a_cut_tail(filled: SceneArchive, data: Path) -> None:
    head = filled.catalogue.log.head()
    tamper(data, "DELETE FROM access_log WHERE sequence = 6")
    broken = verify(filled).broken
    assert broken is not None
    assert "the log ends with entry 5, but 6 was the last written" in broken.what
    before = list(filled.catalogue.log.entries())[-1].sha256
    tamper(data, "UPDATE access_log_head SET sequence = 5, sha256 = ?", values=(before,))
    assert verify(filled).is_sound  # nothing here can tell, which is why the head is kept elsewhere
    assert verify(filled, head.sha256).is_expected_head_there is False
    assert not verify(filled, head.sha256).is_sound


def test_after_a_cut_tail_the_next_entry_tells(filled: SceneArchive, data: Path) -> None:
    tamper(data, "DELETE FROM access_log WHERE sequence = 6")
    filled.add(make_scene(50), stored_at_ns=50)
    assert verify(filled).broken == Broken(sequence=6, what="entry 6 is missing")


def test_a_log_that_was_written_anew(filled: SceneArchive, data: Path) -> None:
    head = filled.catalogue.log.head()
    entries = list(filled.catalogue.log.entries())[:-1]
    event = Event(at_ns=9, actor="auditor/somebody-else", action=Action.READ, subject="x")
    last = Head(sequence=5, sha256=entries[-1].sha256)
    (forged,) = chained(last, [event])
    tamper(data, "UPDATE access_log SET actor = ?, sha256 = ? WHERE sequence = 6", values=(forged.actor, forged.sha256))
    tamper(data, "UPDATE access_log_head SET sha256 = ?", values=(forged.sha256,))
    assert verify(filled).is_sound
    assert not verify(filled, head.sha256).is_sound


def first_id(archive: SceneArchive) -> str:
    return next(archive.catalogue.scenes()).scene_id


def drop_first(archive: SceneArchive, data: Path) -> None:
    tamper(data, "DELETE FROM scenes WHERE scene_id = ?", values=(first_id(archive),))


def add_behind_the_log(archive: SceneArchive, data: Path) -> None:
    scene_id = first_id(archive)
    columns = "vehicle_id, frame_id, timestamp_ns, codec, split_layer, backbone_hash, payload_sha256, payload_bytes"
    rest = f"{columns}, stored_at_ns, region"
    tamper(
        data,
        f"INSERT INTO scenes (scene_id, {rest}) SELECT '{'f' * 64}', {rest} FROM scenes WHERE scene_id = ?",
        values=(scene_id,),
    )


def change_payload(archive: SceneArchive, data: Path) -> None:
    tamper(data, f"UPDATE scenes SET payload_sha256 = '{'0' * 64}' WHERE scene_id = ?", values=(first_id(archive),))


def put_back(archive: SceneArchive, data: Path) -> None:
    archive.catalogue.remove([first_id(archive)])
    change = f"UPDATE scenes SET scene_id = '{make_scene(0).manifest.scene_id}' WHERE scene_id = ?"
    tamper(data, change, values=(first_id(archive),))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (drop_first, ["is not stored, the log does not say who deleted it"]),
        (add_behind_the_log, ["is stored, the log does not say who uploaded it"]),
        (change_payload, ["is stored with payload 000000000000, the log says"]),
        (put_back, ["is stored, the log says that it was deleted", "is not stored"]),
    ],
)
def test_a_catalogue_that_disagrees(
    filled: SceneArchive, data: Path, change: Callable[[SceneArchive, Path], None], what: list[str]
) -> None:
    change(filled, data)
    verdict = verify(filled)
    assert verdict.broken is None
    assert verdict.disagreeing == len(what)
    assert all(any(words in line for line in verdict.disagreements) for words in what)
    assert not verdict.is_sound


def test_deleted_and_uploaded_again_agrees(filled: SceneArchive) -> None:
    scene = make_scene(2)
    deleted = delete(filled, plan_scenes(filled, [scene.manifest.scene_id]), Removal())
    assert deleted.scenes == 1
    assert verify(filled).is_sound
    filled.add(scene, stored_at_ns=100)
    assert verify(filled).is_sound


def test_what_comes_and_goes_meanwhile_is_no_disagreement(
    filled: SceneArchive, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = open_archive(data, is_new_allowed=True)
    scenes = filled.catalogue.scenes

    def slow_scenes() -> object:
        found = list(scenes())
        other.add(make_scene(70), stored_at_ns=70)
        other.catalogue.remove([found[0].scene_id])
        return iter(found)

    monkeypatch.setattr(filled.catalogue, "scenes", slow_scenes)
    assert verify(filled).is_sound
    other.close()


def test_the_program_itself_cannot_change_entries(filled: SceneArchive, data: Path) -> None:
    for statement in ("UPDATE access_log SET actor = 'x'", "DELETE FROM access_log"):
        database = sqlite3.connect(data / "catalogue.sqlite")
        with pytest.raises(sqlite3.IntegrityError, match="only added to"):
            database.execute(statement)
        database.close()
    assert verify(filled).is_sound


def test_a_lost_end_stops_everything(filled: SceneArchive, data: Path) -> None:
    tamper(data, "DELETE FROM access_log_head")
    with pytest.raises(StorageError, match="lost its end"):
        filled.add(make_scene(60), stored_at_ns=60)
    assert filled.catalogue.counts().scenes == FILLED - 1
    with pytest.raises(StorageError, match="lost its end"):
        verify(filled)


def test_a_reader_cannot_log(filled: SceneArchive, data: Path) -> None:
    reader = open_archive(data)
    with pytest.raises(StorageError, match="readonly"):
        reader.catalogue.log.append([Event(at_ns=1, actor="user/eve", action=Action.READ)])
    assert verify(reader).is_sound
    reader.close()


ADDING = """
import sys
from pathlib import Path
from server.repositories.access_log import Action, Event
from server.repositories.sql_access_log import SqlAccessLog
from server.repositories.sqlite import SqliteFile
log = SqlAccessLog(SqliteFile(Path(sys.argv[1])))
for number in range(40):
    log.append([Event(at_ns=number, actor=sys.argv[2], action=Action.READ)] * 3)
"""


def test_two_processes_keep_one_chain(filled: SceneArchive, data: Path, repository: Path) -> None:
    started = [
        subprocess.Popen(
            [sys.executable, "-c", ADDING, str(data / "catalogue.sqlite"), f"user/{number}"], cwd=repository
        )
        for number in (7, 8)
    ]
    assert [process.wait(60) for process in started] == [0, 0]
    verdict = verify(filled)
    assert verdict.is_sound
    assert verdict.entries == FILLED + 2 * 40 * 3
    actors = [entry.actor for entry in filled.catalogue.log.entries(after=FILLED)]
    assert len(set(actors)) == 2
    assert all(len(set(actors[first : first + 3])) == 1 for first in range(0, len(actors), 3))  # none in between


STOPPING = """
import sys
from pathlib import Path
from server.repositories import sql_catalogue
from server.repositories.archive import open_archive
from tests.loopback import make_scene
archive = open_archive(Path(sys.argv[1]), is_new_allowed=True)
append = sql_catalogue.append_within
def stop(connection, events):
    append(connection, events)
    print("in the transaction", flush=True)
    sys.stdin.read()
sql_catalogue.append_within = stop
if sys.argv[2] == "add":
    archive.catalogue.add(make_scene(90).manifest, 90)
else:
    archive.catalogue.remove([make_scene(0).manifest.scene_id])
"""


@pytest.mark.parametrize("what", ["add", "remove"])
def test_kill_9_in_the_transaction_leaves_both_as_they_were(
    filled: SceneArchive, data: Path, repository: Path, what: str
) -> None:
    before = filled.catalogue.log.head(), filled.catalogue.counts()
    command = [sys.executable, "-c", STOPPING, str(data), what]
    with subprocess.Popen(command, cwd=repository, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "in the transaction\n"
        process.kill()
    assert (filled.catalogue.log.head(), filled.catalogue.counts()) == before
    assert verify(filled).is_sound
    filled.add(make_scene(90), stored_at_ns=90)  # and it goes on
    assert verify(filled).is_sound
