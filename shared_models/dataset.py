"""The interface of a dataset: frames by name. Implementations and their table are in `shared_models.datasets`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from shared_models.errors import ConfigError
from shared_models.records import Frame


class Dataset(ABC):
    """LiDAR frames that can be asked for one by one, in any order.

    is_generated: made from settings (`generate`) instead of read from files.
    """

    is_generated: ClassVar[bool] = False

    @classmethod
    @abstractmethod
    def open(cls, root: Path, split: str = "all") -> Self:
        """The dataset in folder `root`, restricted to `split` ("all" is every frame there).

        Raises:
            DatasetError: the folder or the split is missing or malformed.
        """

    @classmethod
    def open_unlabelled(cls, root: Path, split: str = "all") -> Self:
        """As `open`, for whoever needs scans only: labels that can be left unread are, and their faults go unseen.

        Raises:
            DatasetError: the folder or the split is missing or malformed.
        """
        return cls.open(root, split)

    @classmethod
    def generate(cls, root: Path | None, split: str, settings: Mapping[str, Any], defaults: Mapping[str, Any]) -> Self:
        """A generated dataset: `settings` first, then those of the folder, if there is one, then `defaults`.

        Raises:
            ConfigError: an unknown or wrong setting, or the dataset is not generated.
            DatasetError: the folder or the split is missing or malformed.
        """
        raise ConfigError(f"{cls.__name__} is read from a folder, not generated")

    @property
    @abstractmethod
    def frame_ids(self) -> tuple[str, ...]:
        """The frames' names in driving or numerical order, each unique, printable and without path separators."""

    @abstractmethod
    def frame(self, frame_id: str) -> Frame:
        """Read one frame.

        Raises:
            NotFoundError: the dataset has no frame of this name.
            DatasetError: one of the frame's files is missing or malformed; the message names the path (and line).
        """

    def __len__(self) -> int:
        return len(self.frame_ids)

    def __iter__(self) -> Iterator[Frame]:
        return (self.frame(frame_id) for frame_id in self.frame_ids)
