"""The outbox as lists in memory: what it has to hold after each operation, and a look at what a real one holds."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import NamedTuple

from shared_models.records import EncodedScene, SceneManifest
from vehicle_client.outbox import Outbox, OutboxConfig, OutboxCounts, Priority


class Letter(NamedTuple):
    """A scene that was given up."""

    scene_id: str
    reason: str
    payload: bytes | None


class State(NamedTuple):
    """All that an outbox promises to keep: scenes in the order of sending with their payloads, numbers, letters."""

    waiting: tuple[tuple[str, bytes], ...]
    counts: OutboxCounts
    letters: tuple[Letter, ...]


def scene(number: int, size: int) -> EncodedScene:
    """A scene of noise; the same arguments give the same one."""
    payload = hashlib.shake_256(f"{number} {size}".encode()).digest(size)
    manifest = SceneManifest(
        vehicle_id="car-1",
        frame_id=f"{number:06d}",
        timestamp_ns=number,
        codec="int8",
        split_layer="conv_out",
        backbone_hash="ab" * 32,
        payload_sha256=hashlib.sha256(payload).hexdigest(),
        payload_bytes=size,
    )
    return EncodedScene(manifest=manifest, payload=payload)


@dataclass
class OutboxModel:
    """The obvious outbox that evicts."""

    config: OutboxConfig
    waiting: list[tuple[EncodedScene, Priority]] = field(default_factory=list)  # as they were put
    letters: list[Letter] = field(default_factory=list)
    delivered: int = 0
    dead: int = 0
    dead_dropped: int = 0
    evicted: list[int] = field(default_factory=list)  # their sizes

    def put(self, new: EncodedScene, priority: Priority) -> bool:
        if any(each.manifest == new.manifest for each, _ in self.waiting):
            return False
        chosen: list[tuple[EncodedScene, Priority]] = []
        for candidate in sorted(self.waiting, key=lambda item: item[1]):  # stable: oldest first within a class
            if self._free(chosen) < len(new.payload) and candidate[1] <= priority:
                chosen.append(candidate)
        if self._free(chosen) < len(new.payload):
            self.evicted.append(len(new.payload))
            return False
        self.evicted += [len(each.payload) for each, _ in chosen]
        self.waiting = [item for item in self.waiting if item not in chosen] + [(new, priority)]
        return True

    def order(self) -> list[str]:
        return [each.manifest.scene_id for each, _ in sorted(self.waiting, key=lambda item: -item[1])]

    def deliver(self, scene_id: str) -> bool:
        is_here = self._remove(scene_id) is not None
        self.delivered += is_here
        return is_here

    def die(self, scene_id: str, reason: str) -> bool:
        removed = self._remove(scene_id)
        if removed is None:
            return False
        self.dead += 1
        self.letters = [letter for letter in self.letters if letter.scene_id != scene_id]
        self.letters.append(Letter(scene_id, reason, removed.payload))
        self._drop_letters()
        return True

    def state(self) -> State:
        payloads = {each.manifest.scene_id: each.payload for each, _ in self.waiting}
        counts = OutboxCounts(
            pending=len(self.waiting),
            pending_bytes=sum(map(len, payloads.values())),
            delivered=self.delivered,
            dead=self.dead,
            evicted=len(self.evicted),
            dead_dropped=self.dead_dropped,
            evicted_bytes=sum(self.evicted),
        )
        return State(tuple((each, payloads[each]) for each in self.order()), counts, tuple(self.letters))

    def _free(self, without: list[tuple[EncodedScene, Priority]]) -> int:
        return self.config.max_bytes - sum(len(each.payload) for each, p in self.waiting if (each, p) not in without)

    def _remove(self, scene_id: str) -> EncodedScene | None:
        found = next((item for item in self.waiting if item[0].manifest.scene_id == scene_id), None)
        if found is None:
            return None
        self.waiting.remove(found)
        return found[0]

    def _drop_letters(self) -> None:
        while len(self.letters) > self.config.max_dead_letters:
            self.dead_dropped += self.letters.pop(0).payload is not None
        for index, letter in enumerate(self.letters):
            if sum(len(each.payload or b"") for each in self.letters) > self.config.max_dead_bytes and letter.payload:
                self.letters[index] = letter._replace(payload=None)
                self.dead_dropped += 1


def look(outbox: Outbox) -> State:
    """What a real outbox holds; fails where a payload is damaged, or where there are files that belong to nothing."""
    waiting: list[tuple[str, bytes]] = []
    seen: set[str] = set()
    while (manifest := outbox.next_pending(seen)) is not None:
        loaded = outbox.load(manifest.scene_id)
        assert loaded.manifest == manifest
        waiting.append((manifest.scene_id, loaded.payload))
        seen.add(manifest.scene_id)
    letters = tuple(
        Letter(each.manifest.scene_id, each.reason, None if each.payload is None else each.payload.read_bytes())
        for each in outbox.dead_letters()
    )
    kept = {letter.scene_id for letter in letters if letter.payload is not None}
    assert {path.name for path in (outbox.directory / "payloads").iterdir()} == seen
    assert {path.name for path in (outbox.directory / "dead").iterdir()} == kept
    return State(tuple(waiting), outbox.counts(), letters)
