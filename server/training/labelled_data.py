"""Frames of a dataset as labelled scans: the detector's classes and point fields, within its range."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from server.training.array_geometry import rows_in_boxes
from server.training.samples import LabelledScan, Truth
from shared_models.dataset import Dataset
from shared_models.datasets.kitti_calibration import camera_view
from shared_models.errors import DatasetError, InvalidValueError, NotFoundError
from shared_models.records import Frame, ObjectLabels, check

EVERYWHERE: Final = (-1e4, -1e4, -1e4, 1e4, 1e4, 1e4)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledDataConfig:
    """How frames become labelled scans.

    class_names: the detector's classes, in its order; labels are indices into them.
    renamed: the dataset's words for classes that the detector calls otherwise, as in {Car = "Vehicle"}; labels whose
        word is neither here nor in `class_names` are dropped.
    point_fields: columns that the detector reads.
    view: "all" keeps every point and label; "camera" those that the frame's camera sees.
    range_m: [x_min y_min z_min x_max y_max z_max], metres; labels whose centre lies outside are dropped. For training
        this is done after augmentation (`in_range`), which moves objects into the detector's range and out of it.
    min_points: labels with fewer points in their box are dropped; 0 keeps those that the scan does not show.
    max_length_m: labels longer than this are dropped, metres; ST3D takes 10 for Lyft.
    """

    class_names: tuple[str, ...] = ("Car", "Pedestrian", "Cyclist")
    renamed: dict[str, str] = field(default_factory=dict)
    point_fields: tuple[str, ...] = ("x", "y", "z", "intensity")
    view: Literal["all", "camera"] = "all"
    range_m: tuple[float, float, float, float, float, float] = EVERYWHERE
    min_points: int = 1
    max_length_m: float = 100.0

    def __post_init__(self) -> None:
        check.distinct_names("LabelledDataConfig", "class_names", self.class_names, 64)
        check.number("LabelledDataConfig", "range_m", self.range_m, -1e4, 1e4)
        check.count("LabelledDataConfig", "min_points", self.min_points, 100_000, 0)
        check.number("LabelledDataConfig", "max_length_m", self.max_length_m, 0.1, 1000)
        if self.view not in ("all", "camera"):
            raise InvalidValueError(f"LabelledDataConfig.view: expected all or camera, got {self.view!r}")
        if self.point_fields[:3] != ("x", "y", "z"):
            raise InvalidValueError(f"LabelledDataConfig.point_fields: expected x, y, z first, got {self.point_fields}")
        unknown = sorted(set(self.renamed.values()) - set(self.class_names))
        if unknown:
            raise InvalidValueError(
                f"LabelledDataConfig.renamed: {unknown} are none of the detector's classes {self.class_names}"
            )

    @property
    def labels_of_words(self) -> Mapping[str, int]:
        """The class index of each of the dataset's words that are used."""
        own = {name: index for index, name in enumerate(self.class_names)}
        return own | {word: own[name] for word, name in self.renamed.items()}


def read_labelled(dataset: Dataset, frame_id: str, config: LabelledDataConfig) -> LabelledScan:
    """One frame of `dataset` as a labelled scan.

    Raises:
        NotFoundError: the dataset has no frame of this name.
        DatasetError: one of its files is missing or malformed, it has no labels, or no camera where one is needed.
        InvalidValueError: it lacks a point field.
    """
    return labelled_scan(dataset.frame(frame_id), config)


def labelled_scan(frame: Frame, config: LabelledDataConfig) -> LabelledScan:
    """`frame` as a labelled scan. Raises as `read_labelled`."""
    if frame.labels is None:
        raise DatasetError(f"frame {frame.frame_id} has no labels; it cannot be a labelled frame")
    points = frame.columns(config.point_fields)
    truth = _truth(frame.labels, config)
    if config.view == "camera":
        if frame.camera is None:
            raise DatasetError(f"frame {frame.frame_id} has no camera; read it with view = 'all'")
        points = points[camera_view(points, frame.camera)]
        truth = truth.chosen(camera_view(truth.boxes, frame.camera))
    if config.min_points > 0:
        counts = np.array([len(rows) for rows in rows_in_boxes(points, truth.boxes)], dtype=np.int64)
        truth = truth.chosen(counts >= config.min_points)
    return LabelledScan(frame_id=frame.frame_id, points=points, truth=truth)


def _truth(labels: ObjectLabels, config: LabelledDataConfig) -> Truth:
    known = config.labels_of_words
    indices = np.array([known.get(word, -1) for word in labels.class_names], dtype=np.int64)
    boxes = labels.boxes
    low, high = np.array(config.range_m[:3]), np.array(config.range_m[3:])
    is_inside = ((boxes[:, :3] >= low) & (boxes[:, :3] <= high)).all(axis=1)
    is_sized = (boxes[:, 3:6] > 0).all(axis=1) & (boxes[:, 3] <= config.max_length_m)
    kept: NDArray[np.bool_] = (indices >= 0) & is_inside & is_sized
    return Truth.exact(boxes[kept], indices[kept])


def in_range(truth: Truth, range_m: Sequence[float]) -> Truth:
    """The boxes whose centre lies in [x_min y_min z_min x_max y_max z_max], metres: those that a detector can find."""
    low, high = np.array(range_m[:3]), np.array(range_m[3:])
    rows = np.flatnonzero(((truth.boxes[:, :3] >= low) & (truth.boxes[:, :3] <= high)).all(axis=1))
    return truth if len(rows) == len(truth) else truth.chosen(rows)


class LabelledFrames:
    """The labelled scans of chosen frames of a dataset, and of no others; the last ones stay in memory.

    May be shared by threads. Scans must not be written to.
    """

    def __init__(
        self, dataset: Dataset, frame_ids: Sequence[str], config: LabelledDataConfig, kept_in_memory: int = 0
    ) -> None:
        """kept_in_memory: scans; 0 reads each time, len(frame_ids) keeps all.

        Raises:
            NotFoundError: the dataset lacks one of the frames.
        """
        missing = sorted(set(frame_ids) - set(dataset.frame_ids))
        if missing:
            raise NotFoundError(
                f"{len(missing)} of {len(frame_ids)} frames are not in the dataset, such as {missing[0]}"
            )
        self.frame_ids = tuple(frame_ids)
        self.config = config
        self._dataset, self._known = dataset, frozenset(frame_ids)
        self._limit = kept_in_memory
        self._kept: OrderedDict[str, LabelledScan] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.frame_ids)

    def __iter__(self) -> Iterator[LabelledScan]:
        return (self.scan(frame_id) for frame_id in self.frame_ids)

    def scan(self, frame_id: str) -> LabelledScan:
        """The labelled scan of one of the chosen frames.

        Raises:
            NotFoundError: the frame is not one of them.
            DatasetError, InvalidValueError: as `read_labelled`.
        """
        if frame_id not in self._known:
            raise NotFoundError(f"frame {frame_id[:80]!r} is none of the {len(self)} labelled frames")
        with self._lock:
            if frame_id in self._kept:
                self._kept.move_to_end(frame_id)
                return self._kept[frame_id]
        scan = read_labelled(self._dataset, frame_id, self.config)
        with self._lock:
            self._kept[frame_id] = scan
            while len(self._kept) > self._limit:
                self._kept.popitem(last=False)
        return scan
