"""Everything that is held about a vehicle, in one folder.

OUT/about.json      when it was made, under which tags the vehicle stands, counts, the log's end
OUT/scenes.jsonl    manifest, id and time of storing of each stored scene
OUT/log.jsonl       entries of the log of access that concern the vehicle or its scenes, deleted ones too
OUT/runs.jsonl      checkpoints and saved states that learned from its scenes
OUT/payloads/HASH   its features as they were sent, if asked for
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from server.repositories.access_log import Action, Entry, Event
from server.repositories.archive import SceneArchive
from server.repositories.pseudonym import vehicle_tag
from server.repositories.repository import SceneFilter, StoredScene
from server.training.seen_scenes import Affected, checkpoints_that_saw
from shared_models.errors import InvalidValueError, StorageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What an export wrote. payloads: files; payload_bytes: their sum."""

    scenes: int
    entries: int
    affected: int
    payloads: int
    payload_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to export.

    stored: names in the catalogue under which something is stored now.
    possible: every name under which something may ever have been stored, for entries about scenes that are gone.
    with_payloads: the features, too.
    """

    stored: frozenset[str]
    possible: frozenset[str]
    with_payloads: bool = False

    @property
    def tags(self) -> frozenset[str]:
        """As the log has them."""
        return frozenset(map(vehicle_tag, self.stored | self.possible))


def export_vehicle(archive: SceneArchive, data: Path, request: Request, out: Path, actor: str, at_ns: int) -> Exported:
    """Write everything into `out`, which is there whole or not at all.

    data: the server's data folder, for its runs, if there is one here. actor, at_ns: who asks, and when, for the log.

    Raises:
        InvalidValueError: `out` holds something.
        StorageFullError, StorageError: the log cannot be written, a payload is damaged, or `out` cannot be written.
    """
    tags = _known_tags(archive, request)
    with _whole_folder(out) as folder:
        # Logged first: nothing is handed out that the log does not know of.
        detail = {"vehicles": tags, "with_payloads": request.with_payloads}
        archive.catalogue.log.append([Event(at_ns=at_ns, actor=actor, action=Action.EXPORT, detail=detail)])
        scenes = list(archive.catalogue.scenes(SceneFilter(vehicle_ids=request.stored))) if request.stored else []
        ids = frozenset(scene.scene_id for scene in scenes)
        entries = list(concerning(archive.catalogue.log.entries(), request.tags, ids))
        affected = checkpoints_that_saw(data, vehicles=request.tags) if data.is_dir() else []
        _write_lines(folder / "scenes.jsonl", map(_scene_row, scenes))
        _write_lines(folder / "log.jsonl", map(asdict, entries))
        _write_lines(folder / "runs.jsonl", map(_affected_row, affected))
        sizes = _copy_payloads(archive, scenes, folder / "payloads") if request.with_payloads else {}
        exported = Exported(
            scenes=len(scenes),
            entries=len(entries),
            affected=len(affected),
            payloads=len(sizes),
            payload_bytes=sum(sizes.values()),
        )
        head = archive.catalogue.log.head()
        about = {"exported_at_ns": at_ns, "tags": tags, **asdict(exported), "log_head": asdict(head)}
        (folder / "about.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    return exported


def _known_tags(archive: SceneArchive, request: Request) -> list[str]:
    """Those of the vehicle's tags under which something is stored or stands in the log."""
    logged = {tag for entry in archive.catalogue.log.entries() for tag in _tags_in(entry)}
    return sorted({*map(vehicle_tag, request.stored), *(request.tags & logged)})


def concerning(entries: Iterable[Entry], tags: frozenset[str], scene_ids: frozenset[str]) -> Iterator[Entry]:
    """Entries that a vehicle with these tags made, that are about it, or about its scenes, stored now or deleted."""
    known = set(scene_ids)
    for entry in entries:
        is_of_it = not tags.isdisjoint(_tags_in(entry))
        if is_of_it and entry.action in (Action.UPLOAD, Action.REMOVED):
            known.add(entry.subject)
        if is_of_it or entry.subject in known:
            yield entry


def _tags_in(entry: Entry) -> set[str]:
    """Tags of vehicles that made `entry`, or that it is about."""
    role, _, name = entry.actor.partition("/")
    one, several = entry.details.get("vehicle"), entry.details.get("vehicles")
    named = [name if role == "vehicle" else None, one, *(several if isinstance(several, list) else [])]
    return {tag for tag in named if isinstance(tag, str)}


def _scene_row(scene: StoredScene) -> dict[str, Any]:
    kept = {"stored_at_ns": scene.stored_at_ns, "guard": scene.guard}
    return {"scene_id": scene.scene_id, **kept, **asdict(scene.manifest)}


def _affected_row(affected: Affected) -> dict[str, Any]:
    return {"run_id": affected.run_id, "path": str(affected.path), "scenes": affected.scenes}


def _copy_payloads(archive: SceneArchive, scenes: Iterable[StoredScene], folder: Path) -> dict[str, int]:
    folder.mkdir()
    sizes: dict[str, int] = {}
    for sha256 in sorted({scene.manifest.payload_sha256 for scene in scenes}):
        payload = archive.store.read(sha256)
        (folder / sha256).write_bytes(payload)
        sizes[sha256] = len(payload)
    return sizes


def _write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


@contextmanager
def _whole_folder(out: Path) -> Iterator[Path]:
    """A temporary folder beside `out` that becomes `out` where the block succeeds, and is removed where it does not."""
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise InvalidValueError(f"{out}: expected a folder that is empty or not there yet; choose another one")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))  # made with mode 0700
        try:
            yield temporary
            os.rename(temporary, out)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise StorageError(f"{out}: not written: {error.strerror or error}; check space and permissions") from error
