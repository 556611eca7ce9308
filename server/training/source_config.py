"""Which frames of which dataset a run uses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from shared_models.errors import InvalidValueError
from shared_models.records import check


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceConfig:
    """Frames of a dataset.

    dataset: as everywhere on the command line: kitti, or simulated with its settings (simulated,domain=usa,seed=3).
    root: the dataset's folder, "" for a generated one; below the current directory unless absolute.
    split: of the dataset. frames: at most so many, spread evenly over the split; 0 takes all.
    manifest: a partial-label split file; "" is none. part: which side of it: all, labelled or unlabelled; must be
        said where there is a manifest.
    renamed: the dataset's words for classes that the detector calls otherwise.
    view: "camera" keeps only what the frame's camera sees.
    min_points: labels with fewer points are dropped. max_length_m: longer labels are dropped, metres.
    shift_z_m: added to the height of points and boxes, metres (ST3D puts KITTI 1.6 and Lyft 1.8 higher).
    in_memory: scans kept in memory.
    """

    dataset: str = "simulated"
    root: str = ""
    split: str = "all"
    frames: int = 0
    manifest: str = ""
    part: Literal["", "all", "labelled", "unlabelled"] = ""
    renamed: dict[str, str] = field(default_factory=dict)
    view: Literal["all", "camera"] = "all"
    min_points: int = 1
    max_length_m: float = 100.0
    shift_z_m: float = 0.0
    in_memory: int = 64

    def __post_init__(self) -> None:
        check.count("SourceConfig", "frames", self.frames, 10**8, 0)
        check.count("SourceConfig", "min_points", self.min_points, 100_000, 0)
        check.count("SourceConfig", "in_memory", self.in_memory, 10**8, 0)
        check.number("SourceConfig", "max_length_m", self.max_length_m, 0.1, 1000)
        check.number("SourceConfig", "shift_z_m", self.shift_z_m, -100, 100)
        if self.part in ("labelled", "unlabelled") and not self.manifest:
            raise InvalidValueError(
                f"SourceConfig.part: {self.part!r} needs a manifest that says which frames those are"
            )
        if self.manifest and not self.part:
            raise InvalidValueError(
                f"SourceConfig.part: {self.manifest} is given; say which side of it: all, labelled or unlabelled"
            )
