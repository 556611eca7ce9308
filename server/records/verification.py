"""Checking the log of access: every hash anew, the chain from first to last, and the log against the catalogue."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from server.repositories.access_log import AccessLog, Action, Entry, Head
from server.repositories.archive import SceneArchive

SHOWN: Final = 20
"""Disagreements that are named one by one; all are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """The first entry at which the chain breaks. sequence: its number. what: in words."""

    sequence: int
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a verification found.

    head: number and hash of the last entry that was read; the number is that of all entries where nothing is broken.
    broken: None where the chain holds from the first entry to the last.
    disagreements: between log and catalogue, in words, at most SHOWN. disagreeing: how many there are.
    is_expected_head_there: whether an entry has the hash that was expected; None where none was.
    left_over: payloads of deleted scenes that are still in the store; the next `upcycle server delete` removes them.
    """

    entries: int
    head: Head
    broken: Broken | None = None
    disagreements: tuple[str, ...] = ()
    disagreeing: int = 0
    is_expected_head_there: bool | None = None
    left_over: int = 0

    @property
    def is_sound(self) -> bool:
        """Whether nothing is broken, nothing disagrees, and the expected head is there."""
        return self.broken is None and not self.disagreeing and self.is_expected_head_there is not False


def verify(archive: SceneArchive, expected_head: str = "") -> Verdict:
    """Read the whole log and the whole catalogue; a server may be running, what it changes meanwhile is left out.

    expected_head: SHA-256 of an entry that was there once; without it nobody can see that the end was cut off.

    Raises:
        StorageError: the database does not answer.
    """
    before = archive.catalogue.log.head().sequence
    stored = {scene.scene_id: scene.manifest.payload_sha256 for scene in archive.catalogue.scenes()}
    reading = _Reading(expected_head, before)
    for entry in archive.catalogue.log.entries():
        reading.take(entry)
    broken = reading.broken or _cut_off(archive.catalogue.log, reading.head)
    found = list(_disagreements(stored, reading))
    return Verdict(
        entries=reading.count,
        head=reading.head,
        broken=broken,
        disagreements=tuple(found[:SHOWN]),
        disagreeing=len(found),
        is_expected_head_there=reading.is_expected_there if expected_head else None,
        left_over=len(archive.catalogue.payloads_to_remove()),
    )


@dataclass(slots=True)
class _Reading:
    """What has been read of the log. before: number of the last entry when the reading of the catalogue began."""

    expected_head: str
    before: int
    count: int = 0
    head: Head = field(default_factory=Head)
    broken: Broken | None = None
    is_expected_there: bool = False
    payloads: dict[str, str] = field(default_factory=dict)  # of scenes that the log says are stored
    removed: set[str] = field(default_factory=set)
    changing: set[str] = field(default_factory=set)  # while this is read

    def take(self, entry: Entry) -> None:
        """The next entry."""
        self.broken = self.broken or check_entry(self.head, entry)
        self.head = Head(sequence=entry.sequence, sha256=entry.sha256)
        self.count += 1
        self.is_expected_there = self.is_expected_there or entry.sha256 == self.expected_head
        if entry.action not in (Action.UPLOAD, Action.REMOVED):
            return
        if entry.sequence > self.before:
            self.changing.add(entry.subject)
        if entry.action == Action.UPLOAD:
            self.payloads[entry.subject] = entry.payload_sha256
            self.removed.discard(entry.subject)
        else:
            self.payloads.pop(entry.subject, None)
            self.removed.add(entry.subject)


def check_entry(head: Head, entry: Entry) -> Broken | None:
    """What is wrong with `entry` as the one after `head`."""
    expected = head.sequence + 1
    if entry.sequence > expected:
        last = entry.sequence - 1
        which = f"entry {expected} is" if last == expected else f"entries {expected} to {last} are"
        return Broken(sequence=expected, what=f"{which} missing")
    if entry.expected_sha256 != entry.sha256:
        return Broken(sequence=entry.sequence, what="changed: its hash does not follow from what it says")
    if entry.previous_sha256 != head.sha256:
        return Broken(
            sequence=entry.sequence, what="does not follow the entry before it: one of the two was replaced or moved"
        )
    return None


def _cut_off(log: AccessLog, head: Head) -> Broken | None:
    kept = log.head()
    if kept == head or (kept.sequence > head.sequence and _is_growing(log, head)):
        return None
    return Broken(
        sequence=min(kept.sequence, head.sequence) + 1,
        what=f"the log ends with entry {head.sequence}, but {kept.sequence} was the last written: cut off or replaced",
    )


def _is_growing(log: AccessLog, head: Head) -> bool:
    """Whether entries came after `head` since it was read."""
    following = next(iter(log.entries(after=head.sequence)), None)
    return following is not None and check_entry(head, following) is None


def _disagreements(stored: dict[str, str], reading: _Reading) -> Iterable[str]:
    for scene_id in sorted({*stored, *reading.payloads} - reading.changing):
        logged, kept = reading.payloads.get(scene_id), stored.get(scene_id)
        if logged is None and scene_id in reading.removed:
            yield f"scene {scene_id} is stored, the log says that it was deleted"
        elif logged is None:
            yield f"scene {scene_id} is stored, the log does not say who uploaded it"
        elif kept is None:
            yield f"scene {scene_id} is not stored, the log does not say who deleted it"
        elif logged != kept:
            yield f"scene {scene_id} is stored with payload {kept[:12]}, the log says {logged[:12]}"
