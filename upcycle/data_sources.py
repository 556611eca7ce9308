"""Datasets as the command line names them: NAME[:SPLIT] with a folder, and `simulated,KEY=VALUE,...` without one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared_models.errors import NotFoundError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from shared_models.dataset import Dataset
    from shared_models.datasets.simulated import SimulatedDataset
    from shared_models.records import Frame

SIMULATED = "simulated"
NAMED = 5  # known frames that an error message lists


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One opened dataset.

    label: for titles and tables.
    given: as the command line named it.
    """

    label: str
    given: str
    name: str
    split: str
    root: Path
    dataset: Dataset

    @property
    def is_simulated(self) -> bool:
        return self.name == SIMULATED

    def sensor_m(self) -> NDArray[np.float32]:
        """(3,) [x y z] of the LiDAR in the frames' coordinates."""
        from shared_models.datasets.sensor_positions import sensor_position
        from shared_models.datasets.simulated import SimulatedDataset

        if isinstance(self.dataset, SimulatedDataset):
            return simulated_sensor_m(self.dataset)
        return sensor_position(self.name)

    def find(self, frame_id: str) -> str:
        """The full id of a frame that is named in full or by an ending that only it has ("000008").

        Raises:
            NotFoundError: none or several fit; the message names a few that are there.
        """
        known = self.dataset.frame_ids
        if frame_id in known:
            return frame_id
        fitting = [name for name in known if name.endswith(frame_id)]
        if len(fitting) == 1:
            return fitting[0]
        named = fitting or known
        listed = ", ".join(named[:NAMED]) + (", ..." if len(named) > NAMED else "")
        problem = f"fits {len(fitting)} frames" if fitting else f"is none of its {len(known)} frames"
        raise NotFoundError(f"{self.label} in {self.root}: {frame_id!r} {problem}: {listed}")

    def frame(self, frame_id: str) -> Frame:
        """One frame, with the whole turn where the dataset also has a part of it."""
        if self.name != "kitti":
            return self.dataset.frame(frame_id)
        from shared_models.datasets.kitti import KittiConfig, KittiDataset

        whole = KittiDataset(self.root, KittiConfig(split=self.split, points="full"))
        folder, _, number = frame_id.partition("-")
        has_whole_turn = (self.root / folder / "velodyne" / f"{number}.bin").is_file()
        return (whole if has_whole_turn else self.dataset).frame(frame_id)


def simulated_sensor_m(dataset: SimulatedDataset) -> NDArray[np.float32]:
    """(3,) [x y z] of the simulated LiDAR in the frames' coordinates, whose origin may be on the ground."""
    import numpy as np

    from shared_models.simulation.sensors import sensor_of

    sensor = sensor_of(dataset.config.sensor)
    return np.array([0, 0, sensor.height_m - sensor.origin_above_ground_m], dtype=np.float32)


def open_source(given: str, root: Path | None, simulated: dict[str, Any] | None = None) -> Source:
    """The dataset that NAME, NAME:SPLIT or `simulated[:SPLIT],KEY=VALUE,...` names.

    simulated: settings that simulated data get where neither the text nor the folder's file gives them.

    Raises:
        ConfigError: a folder is needed and none is given, or a setting is wrong.
        UnknownNameError, DatasetError: as `open_dataset`.
    """
    from shared_models.datasets import open_dataset

    words, comma, settings = given.partition(",")
    name, _, split = words.partition(":")
    dataset = open_dataset(f"{name}{comma}{settings}", root, split or "all", simulated)
    label = _simulated_label(dataset) if name == SIMULATED else given
    return Source(label=label, given=given, name=name, split=split or "all", root=root or Path(), dataset=dataset)


def _simulated_label(dataset: Dataset) -> str:
    from shared_models.datasets.simulated import SimulatedDataset

    assert isinstance(dataset, SimulatedDataset)
    config = dataset.config
    weather = "" if config.weather == "clear" else f" {config.weather}"
    return f"{SIMULATED} {config.sensor} {config.domain}{weather}"
