"""Generated frames kept on disk: simulating one takes 20 to 160 ms and more, reading it back about 1 ms.

    ROOT/<hash of the settings and of the simulator's code>/<frame id>.npz

Several processes may use one folder: files appear whole, and all would write the same.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import threading
import zipfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final, Self

import numpy as np

import shared_models.simulation
from server.training.atomic_files import write_whole
from shared_models.configuration import to_dict
from shared_models.dataset import Dataset
from shared_models.datasets.simulated import SimulatedDataset
from shared_models.errors import ConfigError, NotFoundError, StorageError, StorageFullError
from shared_models.records import CameraCalibration, Frame, ObjectLabels, check

log = logging.getLogger(__name__)

FORMAT: Final = 1
_FILE_FAULTS: Final = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile)
_LABEL_ARRAYS: Final = ("boxes", "image_boxes", "occlusion", "truncation", "image_only_boxes")


class FrameCache(Dataset):
    """Another dataset whose frames are made once and then read from disk.

    Frames come without `semantic`, `instance` and `image`, whether made or read. A file that is damaged is made again;
    where none can be written, frames are made each time and a warning says so once. May be shared by threads.
    """

    def __init__(self, inner: Dataset, root: Path, key: str) -> None:
        """key: a hash of everything that the frames follow from; names the folder below `root`."""
        check.sha256_hex("FrameCache", "key", key)
        self.folder = Path(root) / key[:24]
        self._inner = inner
        self._known = frozenset(inner.frame_ids)
        self._making = threading.Lock()  # a generated dataset keeps state of its own
        self._is_writable = True

    @classmethod
    def of_simulated(cls, inner: SimulatedDataset, root: Path) -> Self:
        """The cache of simulated frames; other settings or another simulator get another folder."""
        settings = json.dumps({"format": FORMAT, "settings": to_dict(inner.config), "code": simulator_code_sha256()})
        return cls(inner, root, hashlib.sha256(settings.encode()).hexdigest())

    @classmethod
    def open(cls, root: Path, split: str = "all") -> Self:
        raise ConfigError("FrameCache wraps an opened dataset; use FrameCache.of_simulated")

    @property
    def frame_ids(self) -> tuple[str, ...]:
        return self._inner.frame_ids

    def frame(self, frame_id: str) -> Frame:
        if frame_id not in self._known:
            raise NotFoundError(f"frame cache: no frame {frame_id[:80]!r} among the {len(self._known)} of its dataset")
        path = self.folder / f"{frame_id}.npz"
        stored = read_frame(path, frame_id)
        if stored is not None:
            return stored
        with self._making:
            made = _without_extras(self._inner.frame(frame_id))
        self._write(path, made)
        return made

    def _write(self, path: Path, frame: Frame) -> None:
        if not self._is_writable:
            return
        try:
            write_whole(path, frame_bytes(frame))
        except (StorageError, StorageFullError) as error:
            self._is_writable = False
            log.warning("frame cache cannot be written; frames are made each time", extra={"reason": str(error)})


@cache
def simulator_code_sha256() -> str:
    """SHA-256 of the simulator's source files, so that a changed simulator never gets frames of the former one."""
    folder = Path(shared_models.simulation.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def frame_bytes(frame: Frame) -> bytes:
    """`frame` as an .npz file, without `semantic`, `instance` and `image`."""
    arrays: dict[str, Any] = {"points": frame.points}
    about: dict[str, Any] = {
        "format": FORMAT,
        "frame_id": frame.frame_id,
        "timestamp_ns": frame.timestamp_ns,
        "point_fields": frame.point_fields,
    }
    if frame.labels is not None:
        about["class_names"] = frame.labels.class_names
        arrays |= {f"labels_{name}": getattr(frame.labels, name) for name in _LABEL_ARRAYS}
        if frame.labels.track_ids is not None:
            arrays["labels_track_ids"] = frame.labels.track_ids
    if frame.camera is not None:
        about["image_size"] = frame.camera.image_size
        arrays["image_from_camera"] = frame.camera.image_from_camera
        arrays["camera_from_lidar"] = frame.camera.camera_from_lidar
    if frame.world_from_lidar is not None:
        arrays["world_from_lidar"] = frame.world_from_lidar
    buffer = io.BytesIO()
    np.savez(buffer, about=np.frombuffer(json.dumps(about).encode(), dtype=np.uint8), **arrays)
    return buffer.getvalue()


def read_frame(path: Path, frame_id: str) -> Frame | None:
    """The frame in a file that `frame_bytes` made; None where it is missing, damaged or another frame."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
            arrays = dict(stored.items())
        about = json.loads(arrays.pop("about").tobytes())
        return _frame(about, arrays) if (about["format"], about["frame_id"]) == (FORMAT, frame_id) else None
    except FileNotFoundError:
        return None
    except _FILE_FAULTS as error:
        log.warning("cached frame is damaged and made again", extra={"frame": frame_id, "reason": str(error)})
        return None


def _frame(about: Mapping[str, Any], arrays: Mapping[str, Any]) -> Frame:
    labels = camera = None
    if "class_names" in about:
        labels = ObjectLabels(
            class_names=tuple(about["class_names"]),
            track_ids=arrays.get("labels_track_ids"),
            **{name: arrays[f"labels_{name}"] for name in _LABEL_ARRAYS},
        )
    if "image_size" in about:
        camera = CameraCalibration(
            image_from_camera=arrays["image_from_camera"],
            camera_from_lidar=arrays["camera_from_lidar"],
            image_size=tuple(about["image_size"]),
        )
    return Frame(
        frame_id=about["frame_id"],
        timestamp_ns=about["timestamp_ns"],
        points=arrays["points"],
        point_fields=tuple(about["point_fields"]),
        labels=labels,
        camera=camera,
        world_from_lidar=arrays.get("world_from_lidar"),
    )


def _without_extras(frame: Frame) -> Frame:
    return Frame(
        frame_id=frame.frame_id,
        timestamp_ns=frame.timestamp_ns,
        points=frame.points,
        point_fields=frame.point_fields,
        labels=frame.labels,
        camera=frame.camera,
        world_from_lidar=frame.world_from_lidar,
    )
