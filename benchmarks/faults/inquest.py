"""What is true after a storm: each scene stored once, byte for byte, and how much was sent again.

*Again* is told in two ways. `received_again`: chunks that a server had in its hands and had to ask for anew.
`handed_again`: chunks that the vehicle had handed to its own gRPC beyond the offset at which the next server went on.
Most of those never left the vehicle; they can be told only where one scene was under way at a time. What really went
over the link in vain follows from the proxy's count of bytes, in the report of benchmarks/chaos.py.

A server keeps half-sent payloads for a time that it is told, a day unless told otherwise. One whose clock runs ahead by
more than that drops all that no stream has open, also those that had come in full and were about to be finished when
the server before it was killed. That is what it is there for, so such scenes count by themselves: `expired_again`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.faults.journal import Entry, read_journal
from benchmarks.faults.payloads import Payloads
from benchmarks.faults.storm import VEHICLE_ID, StormPaths
from server.repositories.archive import SceneArchive, open_archive
from server.stores.files import FilePayloadStore
from shared_models.errors import IntegrityError, NotFoundError, StorageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Repetition:
    """One time that a scene went on before what had come already.

    chunks: that had to come again; is_whole: the scene had come in full, and was being finished.
    is_expired: by the clock of a server that had it before itself, it was kept long enough.
    """

    scene_id: str
    chunks: int
    is_whole: bool
    is_expired: bool = False


@dataclass(slots=True, kw_only=True)
class Verdict:
    """What was found. `faults` is empty where nothing is wrong; each is a sentence.

    scenes: made by the vehicle; stored: in the catalogue. acknowledged: as the vehicle saw it.
    received_again, handed_again: number of chunks -> how often, see the file's first lines; whole_again: of the first,
        scenes that had come in full. expired_again: scenes sent again because a server's clock ran ahead.
    """

    scenes: int = 0
    stored: int = 0
    acknowledged: int = 0
    payload_bytes: int = 0
    server_starts: int = 0
    vehicle_starts: int = 0
    received_chunks: int = 0
    sent_chunks: int = 0
    received_again: dict[int, int] = field(default_factory=dict)
    handed_again: dict[int, int] = field(default_factory=dict)
    whole_again: int = 0
    expired_again: int = 0
    faults: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """For the report."""
        return asdict(self)


def hold_inquest(paths: StormPaths, payload_folder: Path, in_flight: int) -> Verdict:
    """Read everything that the run left behind."""
    payloads, verdict = Payloads(payload_folder), Verdict()
    server, vehicle = read_journal(paths.server_journal), read_journal(paths.vehicle_journal)
    done = [entry for entry in vehicle if entry.kind == "done"]
    if len(done) != 1:
        verdict.faults.append(f"the vehicle said {len(done)} times that it is done, expected once")
        return verdict
    verdict.scenes, pending, dead = map(int, done[0].words)
    if pending or dead:
        verdict.faults.append(f"{pending} scenes still wait and {dead} were given up, expected none")
    verdict.server_starts = sum(entry.kind == "start" for entry in server)
    verdict.vehicle_starts = sum(entry.kind == "start" for entry in vehicle)
    _judge_stored(verdict, paths.data, payloads, {entry.words[0] for entry in vehicle if entry.kind == "ack"})
    _count_repetitions(verdict, payloads, server, vehicle, in_flight)
    worst = max(verdict.received_again, default=0)
    if worst > 1:
        verdict.faults.append(f"an interruption made a server ask for {worst} chunks again that it had had")
    return verdict


def _judge_stored(verdict: Verdict, data: Path, payloads: Payloads, acknowledged: set[str]) -> None:
    manifests = [payloads.manifest(number, VEHICLE_ID) for number in range(verdict.scenes)]
    expected = {manifest.scene_id: number for number, manifest in enumerate(manifests)}
    verdict.payload_bytes = sum(manifest.payload_bytes for manifest in manifests)
    verdict.acknowledged = len(acknowledged)
    archive = open_archive(data)
    try:
        listed = list(archive.catalogue.scenes())
        verdict.stored = len(listed)
        ids = {stored.scene_id for stored in listed}
        _complain(verdict, "acknowledged and missing", acknowledged - ids)
        _complain(verdict, "made and not stored", expected.keys() - ids)
        _complain(verdict, "stored and never made", ids - expected.keys())
        _complain(verdict, "stored and never acknowledged", ids - acknowledged)
        if len(ids) != len(listed):
            verdict.faults.append(f"{len(listed) - len(ids)} scenes are stored more than once")
        for stored in listed:
            if stored.scene_id in expected:
                payload = payloads.payload(expected[stored.scene_id])
                verdict.faults += _difference(archive, stored.scene_id, stored.manifest.payload_sha256, payload)
    finally:
        archive.close()
    used = {manifest.payload_sha256 for manifest in manifests}
    _complain(verdict, "payloads that belong to no scene", FilePayloadStore(data, is_read_only=True).names() - used)
    _complain(verdict, "half-sent payloads left", {path.name for path in (data / "partial").iterdir()})


def _difference(archive: SceneArchive, scene_id: str, sha256: str, expected: bytes) -> list[str]:
    try:
        is_same = archive.store.read(sha256) == expected
    except (NotFoundError, StorageError, IntegrityError) as error:
        return [f"scene {scene_id[:12]}: {error}"]
    return [] if is_same else [f"scene {scene_id[:12]}: other bytes than were made"]


def _complain(verdict: Verdict, what: str, scene_ids: Iterable[str]) -> None:
    found = sorted(scene_ids)
    if found:
        verdict.faults.append(f"{len(found)} {what}: {', '.join(each[:12] for each in found[:5])}")


def _count_repetitions(
    verdict: Verdict, payloads: Payloads, server: Sequence[Entry], vehicle: Sequence[Entry], in_flight: int
) -> None:
    sizes = {}
    for number in range(verdict.scenes):
        manifest = payloads.manifest(number, VEHICLE_ID)
        sizes[manifest.scene_id] = manifest.payload_bytes
    received = received_again(server, sizes)
    verdict.expired_again = sum(each.is_expired for each in received)
    received = [each for each in received if not each.is_expired]
    verdict.whole_again = sum(each.is_whole for each in received)
    _complain(verdict, "scenes sent again that had come in full", (each.scene_id for each in received if each.is_whole))
    _complain(verdict, "scenes sent again that were stored", stored_and_sent_again(server, vehicle))
    verdict.received_again = _histogram(each.chunks for each in received if not each.is_whole)
    verdict.received_chunks = sum(entry.kind == "chunk" for entry in server)
    verdict.sent_chunks = sum(entry.kind == "sent" for entry in vehicle)
    if in_flight == 1:
        verdict.handed_again = _histogram(handed_again(server, vehicle))


def received_again(server: Sequence[Entry], sizes: dict[str, int]) -> list[Repetition]:
    """Each time that a begun scene went on before chunks that a server had received.

    sizes: payload bytes by scene id.
    """
    chunks: dict[str, list[tuple[int, int]]] = defaultdict(list)  # (offset, end) since offset 0
    overdue: set[str] = set()  # scenes that a server had, or found, by whose clock they were kept long enough
    is_ahead, found = False, []
    for entry in server:
        if entry.kind == "start":
            is_ahead = _drops_at_once(entry)
            overdue.update(chunks if is_ahead else ())
        elif entry.kind == "chunk":
            offset, size = int(entry.words[1]), int(entry.words[2])
            chunks[entry.words[0]].append((offset, offset + size))
            overdue.update(entry.words[:1] if is_ahead else ())
        elif entry.kind == "begin":
            scene_id, offset = entry.words[0], int(entry.words[1])
            again = _again(scene_id, chunks[scene_id], offset, sizes.get(scene_id))
            if again is not None:
                found.append(replace(again, is_expired=offset == 0 and scene_id in overdue))
            chunks[scene_id] = [chunk for chunk in chunks[scene_id] if chunk[1] <= offset]
            if not is_ahead:
                overdue.discard(scene_id)  # the time of what comes now begins anew
    return found


def _again(scene_id: str, had: Sequence[tuple[int, int]], offset: int, size: int | None) -> Repetition | None:
    """What has to come again of a scene that goes on at `offset`."""
    again = [chunk for chunk in had if chunk[1] > offset]
    if not again:
        return None
    is_whole = had[-1][1] == size and len(again) == len(had) and len(had) > 1
    return Repetition(scene_id=scene_id, chunks=len(again), is_whole=is_whole)


def _drops_at_once(start: Entry) -> bool:
    """Whether this server's clock makes every half-sent payload too old: their files have the machine's own times."""
    ahead_s, expiry_s = map(float, start.words)
    return ahead_s > expiry_s


def stored_and_sent_again(server: Sequence[Entry], vehicle: Sequence[Entry]) -> set[str]:
    """Scenes that the vehicle took up, and of which it sent data, after a server had stored them.

    What it sent before, on a broken stream, may still be read afterwards.
    """
    kept = [*server, *(entry for entry in vehicle if entry.kind == "load")]
    stored, taken_up, found = set[str](), set[str](), set[str]()
    for entry in sorted(kept, key=lambda each: each.at_ns):
        if entry.kind == "stored":
            stored.add(entry.words[0])
        elif entry.kind == "load" and entry.words[0] in stored:
            taken_up.add(entry.words[0])
        elif entry.kind == "chunk" and entry.words[0] in taken_up:
            found.add(entry.words[0])
    return found


def handed_again(server: Sequence[Entry], vehicle: Sequence[Entry]) -> list[int]:
    """For each begin after chunks of the same scene were sent: how many of them lay behind its offset."""
    merged = sorted([*server, *(entry for entry in vehicle if entry.kind in ("load", "sent"))], key=lambda e: e.at_ns)
    scene_id, ends, found = "", dict[str, list[int]](), []
    for entry in merged:
        if entry.kind == "load":
            scene_id = entry.words[0]
        elif entry.kind == "sent" and scene_id in ends:
            ends[scene_id].append(ends[scene_id][-1] + int(entry.words[0]))
        elif entry.kind == "begin":
            begun, offset = entry.words[0], int(entry.words[1])
            had = ends.get(begun, [0])
            if len(had) > 1:
                found.append(sum(end > offset for end in had))
            ends[begun] = [offset]
    return found


def _histogram(values: Iterable[int]) -> dict[int, int]:
    counted: dict[int, int] = defaultdict(int)
    for value in values:
        counted[value] += 1
    return dict(sorted(counted.items()))
