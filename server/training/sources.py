"""Opening what a run file names as its data."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from server.training.frame_cache import FrameCache
from server.training.labelled_data import LabelledDataConfig, LabelledFrames
from server.training.source_config import SourceConfig
from server.training.splits import load_split
from shared_models.configuration import to_dict
from shared_models.dataset import Dataset
from shared_models.datasets import open_dataset
from shared_models.datasets.simulated import SimulatedDataset
from shared_models.detectors.anchor_detector import AnchorDetector
from shared_models.errors import ConfigError
from shared_models.records import Frame


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """An opened dataset and the names of those of its frames that are used, in its order.

    world: of generated frames, all settings that their content follows from; frames of one name in one world are the
        same. "" for frames from files.
    """

    dataset: Dataset
    frame_ids: tuple[str, ...]
    config: SourceConfig
    world: str = ""


def open_source(config: SourceConfig, cache: Path | None = None, *, with_labels: bool = True) -> Source:
    """The frames that `config` names. cache: folder where simulated frames are kept.

    Raises:
        ConfigError: no frame is left.
        UnknownNameError, DatasetError: as `open_dataset`, or the manifest is of other frames.
    """
    root = Path(config.root) if config.root else None
    dataset = open_dataset(config.dataset, root, config.split, with_labels=with_labels)
    world = _world(dataset)
    if cache is not None and isinstance(dataset, SimulatedDataset):
        dataset = FrameCache.of_simulated(dataset, cache)
    frame_ids = dataset.frame_ids
    if config.manifest:
        split = load_split(Path(config.manifest))
        split.require_from(frame_ids)
        chosen = {"all": frame_ids, "labelled": split.frame_ids, "unlabelled": split.unlabelled(frame_ids)}
        frame_ids = chosen[config.part]
    if config.frames and config.frames < len(frame_ids):
        rows = np.linspace(0, len(frame_ids), config.frames, endpoint=False).astype(int)
        frame_ids = tuple(frame_ids[row] for row in rows)
    if not frame_ids:
        raise ConfigError(f"data: {config.dataset} (split {config.split}, part {config.part}) has no frame; see `data`")
    if config.shift_z_m:
        dataset = RaisedDataset(dataset, config.shift_z_m)
    return Source(dataset=dataset, frame_ids=frame_ids, config=config, world=world)


def _world(dataset: Dataset) -> str:
    if not isinstance(dataset, SimulatedDataset):
        return ""
    settings = {key: value for key, value in to_dict(dataset.config).items() if key != "drives"}  # only how many
    return json.dumps(settings, sort_keys=True)


def fleet_id(config: SourceConfig, guard: str = "none") -> str:
    """Vehicle name of the scenes of these frames: the same frames with the same guard get the same name.

    guard: as it describes itself (`Guard.described`).
    """
    text = json.dumps(to_dict(config), sort_keys=True) + ("" if guard == "none" else guard)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f"{config.dataset.partition(',')[0]}-fleet-{digest[:10]}"


def allowed_labels(source: Source) -> frozenset[str]:
    """Names of the frames whose labels the run file allows, from the manifest itself where there is one."""
    config = source.config
    if config.manifest and config.part == "labelled":
        return frozenset(load_split(Path(config.manifest)).frame_ids)
    return frozenset(source.frame_ids)


def refuse_shared_frames(one: Source, other: Source, names: tuple[str, str], advice: str) -> None:
    """Two sources of one dataset have no frame in common.

    Raises:
        ConfigError: they have; the message names one such frame.
    """
    if _place(one) != _place(other):
        return
    shared = sorted(set(one.frame_ids) & set(other.frame_ids))
    if shared:
        raise ConfigError(
            f"data.{names[0]} and data.{names[1]} share {len(shared)} frames of {one.config.dataset}, such as "
            f"{shared[0]}; {advice}"
        )


def _place(source: Source) -> tuple[str, tuple[str, ...], str]:
    """What makes frames of the same name the same frame, however a file spells it."""
    config = source.config
    if source.world:
        return "simulated", (source.world,), ""
    name, *words = config.dataset.partition(":")[0].split(",")
    return name, tuple(sorted(words)), str(Path(config.root).resolve()) if config.root else ""


def labelled_frames(source: Source, detector: AnchorDetector) -> LabelledFrames:
    """The labelled scans of `source` in the detector's classes and point fields, with the labels out of its range."""
    config = source.config
    data = LabelledDataConfig(
        class_names=detector.class_names,
        renamed=config.renamed,
        point_fields=detector.point_fields,
        view=config.view,
        min_points=config.min_points,
        max_length_m=config.max_length_m,
    )
    return LabelledFrames(source.dataset, source.frame_ids, data, kept_in_memory=config.in_memory)


class RaisedDataset(Dataset):
    """Another dataset whose LiDAR frame is moved down, so that points and boxes are higher by a constant."""

    def __init__(self, inner: Dataset, shift_m: float) -> None:
        self._inner, self._shift_m = inner, shift_m

    @classmethod
    def open(cls, root: Path, split: str = "all") -> RaisedDataset:
        raise ConfigError("RaisedDataset wraps an opened dataset")

    @property
    def frame_ids(self) -> tuple[str, ...]:
        return self._inner.frame_ids

    def frame(self, frame_id: str) -> Frame:
        return raised(self._inner.frame(frame_id), self._shift_m)


def raised(frame: Frame, shift_m: float) -> Frame:
    """`frame` with points and boxes higher by `shift_m` metres; camera and pose follow."""
    down = np.eye(4)
    down[2, 3] = -shift_m
    points = frame.points.copy()
    points[:, 2] += np.float32(shift_m)
    changes: dict[str, Any] = {"points": points}
    if frame.labels is not None:
        boxes = frame.labels.boxes.copy()
        boxes[:, 2] += np.float32(shift_m)
        changes["labels"] = replace(frame.labels, boxes=boxes)
    if frame.camera is not None:
        changes["camera"] = replace(frame.camera, camera_from_lidar=frame.camera.camera_from_lidar @ down)
    if frame.world_from_lidar is not None:
        changes["world_from_lidar"] = frame.world_from_lidar @ down
    return replace(frame, **changes)
