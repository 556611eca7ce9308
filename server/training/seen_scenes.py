"""Which stored scenes a checkpoint has learned from, so that deleting a vehicle's data tells which ones are affected.

A file `scenes-seen.json` lies in every checkpoint's folder and beside a run's saved states. Vehicles stand in it by
their tag, never by name; a scene's id does not tell what it shows.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from server.repositories.pseudonym import vehicle_tag
from server.repositories.repository import StoredScene
from server.training.atomic_files import write_whole
from shared_models.errors import DatasetError, InvalidValueError, NotFoundError

FILE: Final = "scenes-seen.json"
FORMAT: Final = 1
_ID_DIGITS: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenScenes:
    """Ids of stored scenes by the tag of the vehicle that sent them."""

    by_vehicle: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, scenes: Iterable[StoredScene]) -> SeenScenes:
        """These scenes."""
        found: dict[str, set[str]] = {}
        for scene in scenes:
            found.setdefault(vehicle_tag(scene.manifest.vehicle_id), set()).add(scene.scene_id)
        return cls(by_vehicle={tag: frozenset(ids) for tag, ids in found.items()})

    def __len__(self) -> int:
        return sum(len(ids) for ids in self.by_vehicle.values())

    def joined(self, other: SeenScenes) -> SeenScenes:
        """Both together."""
        tags = (*self.by_vehicle, *other.by_vehicle)
        none: frozenset[str] = frozenset()
        return SeenScenes(
            by_vehicle={tag: self.by_vehicle.get(tag, none) | other.by_vehicle.get(tag, none) for tag in tags}
        )

    def matching(self, vehicle: str = "", scene_ids: Iterable[str] = (), vehicles: Collection[str] = ()) -> int:
        """How many are of the vehicles with these tags, or have an id that is or begins with one of `scene_ids`."""
        given = list(scene_ids)
        whole = frozenset(text for text in given if len(text) == _ID_DIGITS)
        beginnings = tuple(text for text in given if text not in whole)
        return sum(
            len(ids) if tag == vehicle or tag in vehicles else sum(s in whole or s.startswith(beginnings) for s in ids)
            for tag, ids in self.by_vehicle.items()
        )

    def write(self, folder: Path) -> None:
        """Keep them in `folder`. Raises StorageError, StorageFullError."""
        content = {"format": FORMAT, "vehicles": {tag: sorted(ids) for tag, ids in sorted(self.by_vehicle.items())}}
        write_whole(folder / FILE, (json.dumps(content, indent=1) + "\n").encode())


def read_seen(folder: Path) -> SeenScenes | None:
    """What `SeenScenes.write` kept in `folder`; None where nothing was.

    Raises:
        DatasetError: the file is damaged.
    """
    path = folder / FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']}, expected {FORMAT}")
        return SeenScenes(by_vehicle={tag: frozenset(ids) for tag, ids in content["vehicles"].items()})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DatasetError(f"{path}: not readable ({error}); take it for one that saw every scene") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Affected:
    """Weights that saw scenes.

    run_id: of the run. path: folder of the checkpoint, or of the run's saved states.
    scenes: how many of those asked for; None where it was not kept which scenes were seen.
    """

    run_id: str
    path: Path
    scenes: int | None


def checkpoints_that_saw(
    data: Path, *, vehicle: str = "", scene_ids: Iterable[str] = (), vehicles: Collection[str] = ()
) -> list[Affected]:
    """Checkpoints and saved states of all runs that learned from scenes, those without a record among them.

    data: the server's data folder. vehicle, vehicles: tags of vehicles. scene_ids: ids, or their beginnings.

    Raises:
        InvalidValueError: neither a vehicle nor a scene is given, or an id that cannot be one.
        NotFoundError: `data` is no folder, so that "none" would be no answer.
        DatasetError: a record is damaged.
    """
    if not data.is_dir():
        raise NotFoundError(f"{data}: no such folder; give the one that `upcycle train --data` got")
    begin = tuple(scene_ids)
    wrong = [text for text in (vehicle, *begin, *vehicles) if set(text) - set("0123456789abcdef")]
    if wrong or not (vehicle or begin or vehicles) or not all(begin):
        raise InvalidValueError(
            f"expected a vehicle's tag or ids of scenes, in lower-case hexadecimal digits, got {wrong or 'neither'}"
        )
    found = []
    for run in sorted((data / "runs").glob("*")):
        for folder in (*sorted((run / "checkpoints").glob("step-*")), run / "state", run / "good"):
            seen = read_seen(folder) if folder.is_dir() else SeenScenes()
            count = None if seen is None else seen.matching(vehicle, begin, vehicles)
            if count or (count is None and _learns_from_store(run)):
                found.append(Affected(run_id=run.name, path=folder, scenes=count))
    return found


def _learns_from_store(run: Path) -> bool:
    try:
        return bool(json.loads((run / "run.json").read_text(encoding="utf-8"))["recipe"] == "upcycling")
    except (OSError, ValueError, KeyError, TypeError):
        return True  # whoever deletes data has to look at it
