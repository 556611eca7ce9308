"""Simulated drives as a dataset: nothing is read but, where there is one, the file with the settings.

    ROOT/simulated.toml    fields of `SimulatedConfig`; without the file, their defaults

The splits "train" and "val" are the first four fifths of the streets and the rest, so no street is in both.
Where streets are driven along more than once (`visits`), the second drive along street 4 is called 0004.1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self

from shared_models.configuration import from_dict, from_toml, to_dict
from shared_models.dataset import Dataset
from shared_models.errors import ConfigError, DatasetError, NotFoundError
from shared_models.records import Frame
from shared_models.simulation.simulator import SimulatedConfig, Simulator

SPLITS: Final = ("all", "train", "val")
SETTINGS: Final = "simulated.toml"
_NAME: Final = re.compile(r"(?P<street>sim-.+-\d{4})(?P<visit>\.\d+)?-\d{4}")


class SimulatedDataset(Dataset):
    """Frames named `sim-DOMAIN-SENSOR[-WEATHER]-DRIVE[.VISIT]-FRAME`, made when they are asked for."""

    is_generated = True

    def __init__(self, config: SimulatedConfig | None = None, split: str = "all") -> None:
        self.config = config or SimulatedConfig()
        if split not in SPLITS:
            raise DatasetError(f"simulated data: no split {split!r}; known: {', '.join(SPLITS)}")
        drives = range(self.config.drives)
        border = max(1, round(0.8 * len(drives)))
        chosen = {"all": drives, "train": drives[:border], "val": drives[border:]}[split]
        self._places = {
            _frame_id(self.config, drive, index, visit): (drive, index, visit)
            for drive in chosen
            for visit in range(self.config.visits)
            for index in range(self.config.frames_per_drive)
        }
        self._simulator = Simulator(self.config)

    @classmethod
    def open(cls, root: Path, split: str = "all") -> Self:
        folder = Path(root)
        if not folder.is_dir():
            raise DatasetError(f"{folder}: the folder is missing; make it, and in it {SETTINGS} for other settings")
        path = folder / SETTINGS
        try:
            config = from_toml(SimulatedConfig, path) if path.is_file() else SimulatedConfig()
        except ConfigError as error:
            raise DatasetError(str(error)) from error
        return cls(config, split)

    @classmethod
    def generate(cls, root: Path | None, split: str, settings: Mapping[str, Any], defaults: Mapping[str, Any]) -> Self:
        stored: dict[str, Any] = {}
        if root is not None:
            config = cls.open(root).config
            if (Path(root) / SETTINGS).is_file():
                stored, defaults = to_dict(config), {}
        return cls(from_dict(SimulatedConfig, {**stored, **defaults, **settings}), split)

    @property
    def frame_ids(self) -> tuple[str, ...]:
        return tuple(self._places)

    def frame(self, frame_id: str) -> Frame:
        if frame_id not in self._places:
            example = next(iter(self._places), "none: the split is empty")
            raise NotFoundError(
                f"simulated data: no frame {frame_id[:80]!r}; its {len(self)} frames are named like {example!r}"
            )
        return self._simulator.frame(frame_id, *self._places[frame_id])


def drive_of(frame_id: str) -> tuple[str, str] | None:
    """(street, drive along it) of a simulated frame's name, None for any other name."""
    found = _NAME.fullmatch(frame_id)
    return None if found is None else (found["street"], found["street"] + (found["visit"] or ""))


def _frame_id(config: SimulatedConfig, drive: int, index: int, visit: int) -> str:
    weather = "" if config.weather == "clear" else f"-{config.weather}"
    again = f".{visit}" if visit else ""
    return f"sim-{config.domain}-{config.sensor}{weather}-{drive:04d}{again}-{index:04d}"
