"""Power cuts and `kill -9` at every step of the outbox: each operation is there wholly or not at all, and once it has
returned it stays."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.vehicle_client.outbox_model import OutboxModel, State, look, scene
from tests.vehicle_client.power_loss import Picture, crash_points, restore
from vehicle_client import durable, outbox
from vehicle_client.outbox import Outbox, OutboxConfig, Priority

CONFIG = OutboxConfig(max_bytes=1000, max_dead_letters=2, max_dead_bytes=500)
SPOOL = "state/outbox"

Operation = Callable[[Outbox], object]


@pytest.fixture
def disk() -> Iterator[Path]:
    """A folder in memory where there is one: thousands of restarts, whose syncs are not what is tested."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


class Crashes:
    """Pictures of crashed disks, each once, with the states that may be found on it."""

    def __init__(self) -> None:
        self.pictures: dict[object, tuple[Picture, list[set[State]]]] = {}
        self.taken = 0

    def add(self, picture: Picture, allowed: set[State]) -> None:
        self.taken += 1
        self.pictures.setdefault(frozenset(picture.items()), (picture, []))[1].append(allowed)

    def check(self, base: Path, recorded: Crashes | None = None, every: int = 1) -> None:
        """Restart on each picture; in every so many of them also crash at each step of the restart."""
        for number, (picture, allowed) in enumerate(list(self.pictures.values())):
            folder = base / "restart"
            restore(picture, folder)
            both = set.intersection(*allowed)
            if recorded is not None and number % every == 0:
                with crash_points(folder, lambda again, both=both: recorded.add(again, both)):
                    Outbox(folder / SPOOL, CONFIG).close()
            with Outbox(folder / SPOOL, CONFIG) as restarted:
                found = look(restarted)
            assert found in both, f"picture {number}: {describe(found)}, expected {[describe(s) for s in both]}"
            with Outbox(folder / SPOOL, CONFIG) as again:
                assert look(again) == found
            shutil.rmtree(folder)


def describe(state: State) -> str:
    letters = [(letter.scene_id[:6], letter.payload is not None) for letter in state.letters]
    return f"waiting {[scene_id[:6] for scene_id, _ in state.waiting]}, {state.counts}, letters {letters}"


def run(base: Path, names: list[tuple[str, int, int, Priority]]) -> Crashes:
    """Carry out operations on a real outbox and on the model, taking pictures at each step."""
    crashes, model, allowed = Crashes(), OutboxModel(CONFIG), [OutboxModel(CONFIG).state()]
    with crash_points(base, lambda picture: crashes.add(picture, set(allowed))) as crash:
        spool = Outbox(base / SPOOL, CONFIG)
        for name, number, size, priority in names:
            before, new = model.state(), scene(number, size)
            scene_id = new.manifest.scene_id
            expected = {
                "put": lambda new=new, priority=priority: model.put(new, priority),
                "deliver": lambda scene_id=scene_id: model.deliver(scene_id),
                "die": lambda scene_id=scene_id: model.die(scene_id, "codec"),
                "reopen": lambda: None,
            }[name]()
            allowed[:] = [before, model.state()]
            if name == "reopen":
                spool.close()
                spool = Outbox(base / SPOOL, CONFIG)
                done = None
            else:
                do = {"put": spool.put, "deliver": spool.mark_delivered, "die": spool.mark_dead}[name]
                done = do(*{"put": (new, priority), "deliver": (scene_id,), "die": (scene_id, "codec")}[name])
            assert done == expected
            crash()  # at its last step, a commit perhaps
            allowed[:] = [model.state()]
            crash()  # it has returned: from now on it must be there
            assert look(spool) == model.state()
        spool.close()
    return crashes


ROUTINE, LOW, HIGH = Priority.ROUTINE, Priority.LOW, Priority.HIGH
STORY = [
    ("put", 0, 300, ROUTINE),
    ("put", 1, 300, LOW),
    ("put", 1, 300, HIGH),  # waits already
    ("put", 2, 300, HIGH),
    ("put", 3, 350, ROUTINE),  # evicts the low one
    ("deliver", 2, 300, HIGH),
    ("reopen", 0, 0, LOW),
    ("put", 4, 250, HIGH),
    ("put", 5, 300, LOW),  # is evicted itself
    ("die", 3, 350, LOW),
    ("put", 6, 300, ROUTINE),
    ("die", 6, 300, LOW),  # drops the payload of the one before
    ("reopen", 0, 0, LOW),
    ("put", 7, 600, ROUTINE),  # evicts two
    ("die", 7, 600, LOW),  # too large to be kept aside, and the oldest letter goes
    ("put", 6, 300, ROUTINE),  # died before
    ("die", 6, 300, LOW),  # dies again
    ("put", 8, 0, ROUTINE),  # an empty payload
    ("deliver", 8, 0, LOW),
    ("deliver", 8, 0, LOW),  # is not there any more
]


def test_every_operation_is_whole_wherever_it_is_cut(disk: Path) -> None:
    (disk / "disk").mkdir()
    crashes = run(disk / "disk", STORY)
    in_restart = Crashes()
    crashes.check(disk, in_restart, every=3)
    in_restart.check(disk)
    assert crashes.taken > 1000
    assert len(crashes.pictures) > 120
    assert len(in_restart.pictures) > 50


@pytest.mark.parametrize("sabotage", ["no file sync", "no folder sync", "row first", "file last"])
def test_the_pictures_show_what_is_done_in_a_wrong_order(
    disk: Path, sabotage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of these loses or damages a scene in some crash; if none were seen the test above would prove nothing."""

    def without_sync(path: Path, data: bytes) -> None:
        path.with_name("x.new").write_bytes(data)
        durable.os.replace(path.with_name("x.new"), path)
        durable.sync_directory(path.parent)

    def removes_first(self: Outbox, scene_id: str) -> bool:
        self._unlink((scene_id,))
        return real_delivered(self, scene_id)

    def adds_first(path: Path, data: bytes) -> None:
        late.append((path, data))

    real_delivered, real_put, late = Outbox.mark_delivered, Outbox.put, []

    def put(self: Outbox, new: object, priority: Priority) -> bool:
        done = real_put(self, new, priority)
        for path, data in late:
            durable.write_durably(path, data)
        late.clear()
        return done

    if sabotage == "no file sync":
        monkeypatch.setattr(outbox, "write_durably", without_sync)
    elif sabotage == "no folder sync":
        monkeypatch.setattr(durable, "sync_directory", lambda path: None)
    elif sabotage == "row first":
        monkeypatch.setattr(outbox, "write_durably", adds_first)
        monkeypatch.setattr(Outbox, "put", put)
    else:
        monkeypatch.setattr(Outbox, "mark_delivered", removes_first)
    (disk / "disk").mkdir()
    crashes = run(disk / "disk", STORY[:6])
    monkeypatch.undo()
    with pytest.raises(Exception, match="expected|payload|NoneType|picture"):
        crashes.check(disk)


SCHEMA_1 = """
CREATE TABLE scenes (sequence INTEGER PRIMARY KEY AUTOINCREMENT, scene_id TEXT NOT NULL UNIQUE,
    manifest TEXT NOT NULL, payload_bytes INTEGER NOT NULL, priority INTEGER NOT NULL);
CREATE INDEX scenes_in_order ON scenes (priority DESC, sequence);
CREATE TABLE dead_letters (sequence INTEGER PRIMARY KEY AUTOINCREMENT, scene_id TEXT NOT NULL,
    manifest TEXT NOT NULL, reason TEXT NOT NULL);
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
PRAGMA user_version = 1;
"""


def make_schema_1(spool: Path) -> OutboxModel:
    """An outbox as version 1 left it: two waiting, one given up with its payload, one whose payload was to be moved."""
    model, numbers = OutboxModel(CONFIG), count()
    for folder in ("payloads", "dead"):
        (spool / folder).mkdir(parents=True)
    database = sqlite3.connect(spool / "outbox.sqlite")
    database.execute("PRAGMA journal_mode = WAL")
    database.executescript(SCHEMA_1)
    for priority, named in ((0, ROUTINE), (5, Priority.URGENT)):
        new = scene(next(numbers), 100)
        model.put(new, named)
        row = (new.manifest.scene_id, _text(new.manifest), 100, priority)
        database.execute("INSERT INTO scenes (scene_id, manifest, payload_bytes, priority) VALUES (?, ?, ?, ?)", row)
        (spool / "payloads" / new.manifest.scene_id).write_bytes(new.payload)
    for folder in ("dead", "payloads"):
        new = scene(next(numbers), 100)
        model.put(new, ROUTINE)
        model.die(new.manifest.scene_id, "codec")
        row = (new.manifest.scene_id, _text(new.manifest), "codec")
        database.execute("INSERT INTO dead_letters (scene_id, manifest, reason) VALUES (?, ?, ?)", row)
        (spool / folder / new.manifest.scene_id).write_bytes(new.payload)
    database.execute("INSERT INTO counters VALUES ('dead', 2)")
    database.commit()
    database.close()
    return model


def _text(manifest: object) -> str:
    import json
    from dataclasses import asdict

    given = asdict(manifest)  # type: ignore[call-overload]
    del given["region"]  # unknown to version 1
    return json.dumps(given)


def test_an_older_outbox_is_taken_over_whole_wherever_it_is_cut(disk: Path) -> None:
    base, crashes = disk / "disk", Crashes()
    model = make_schema_1(base / SPOOL)
    with crash_points(base, lambda picture: crashes.add(picture, {model.state()})):
        Outbox(base / SPOOL, CONFIG).close()
    crashes.check(disk)
    assert len(crashes.pictures) > 5
