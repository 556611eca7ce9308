"""The objects of the labelled frames, with their points, for ground-truth sampling.

It is made of the labelled split and of nothing else: a frame outside it is refused when the database is built, and
again when it is loaded. Published partial-label results had to be retracted because this was not so.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from server.training.array_geometry import rows_in_boxes
from server.training.atomic_files import write_whole
from server.training.samples import LabelledScan
from server.training.split_guard import refuse_outside
from shared_models.errors import DatasetError, InvalidValueError
from shared_models.records import check

FORMAT: Final = 1
_OWNER: Final = "ground-truth database"
_ARRAYS: Final = ("boxes", "labels", "points", "offsets")
_FILE_FAULTS: Final = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseConfig:
    """Which objects are kept.

    min_points: objects with fewer points in their box are left out; OpenPCDet's 5.
    """

    min_points: int = 5

    def __post_init__(self) -> None:
        check.count("DatabaseConfig", "min_points", self.min_points, 100_000)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GroundTruthDatabase:
    """K labelled objects; K = 0 is valid.

    frame_ids: every frame that it was made of, also those without objects.
    point_fields: names of the points' columns.
    boxes: (K, 7) float32 [x y z length width height yaw], metres and radians, LiDAR frame of the object's own frame.
    labels: (K,) int64, index into the detector's class names.
    object_frames: K names, the frame of each object.
    points: (P, F) float32, the points of all objects one after the other, LiDAR frame of the object's own frame.
    offsets: (K + 1,) int64; object k has points[offsets[k] : offsets[k + 1]].
    """

    frame_ids: frozenset[str]
    point_fields: tuple[str, ...]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    object_frames: tuple[str, ...]
    points: NDArray[np.float32]
    offsets: NDArray[np.int64]

    def __post_init__(self) -> None:
        count = len(self.object_frames)
        check.shape("GroundTruthDatabase", "boxes", self.boxes, (count, 7))
        check.dtype("GroundTruthDatabase", "boxes", self.boxes, np.float32)
        check.shape("GroundTruthDatabase", "labels", self.labels, (count,))
        check.dtype("GroundTruthDatabase", "labels", self.labels, np.int64)
        check.shape("GroundTruthDatabase", "points", self.points, (None, len(self.point_fields)))
        check.dtype("GroundTruthDatabase", "points", self.points, np.float32)
        check.shape("GroundTruthDatabase", "offsets", self.offsets, (count + 1,))
        if self.offsets[0] != 0 or self.offsets[-1] != len(self.points) or (np.diff(self.offsets) < 0).any():
            raise InvalidValueError(f"GroundTruthDatabase.offsets: expected 0 rising to {len(self.points)}")
        refuse_outside(_OWNER, self.object_frames, self.frame_ids, "the frames that the database was made of")

    def __len__(self) -> int:
        return len(self.object_frames)

    @property
    def point_counts(self) -> NDArray[np.int64]:
        """(K,) points of each object."""
        return np.diff(self.offsets)

    def rows_of(self, label: int) -> NDArray[np.int64]:
        """Rows of the objects of one class, ascending."""
        rows: NDArray[np.int64] = np.flatnonzero(self.labels == label)
        return rows

    def points_of(self, row: int | np.int64) -> NDArray[np.float32]:
        """(n, F) float32: the points of one object, LiDAR frame of its own frame."""
        return self.points[self.offsets[row] : self.offsets[row + 1]]

    def require_within(self, labelled: Collection[str]) -> None:
        """Every frame that this was made of is one of `labelled`.

        Raises:
            InvalidValueError: it is not; the message names the frame.
        """
        refuse_outside(_OWNER, sorted(self.frame_ids), frozenset(labelled), "the labelled split")

    @property
    def sha256(self) -> str:
        """SHA-256 of all that it holds, 64 hexadecimal digits."""
        digest = hashlib.sha256(_names(self))
        for name in _ARRAYS:
            array = getattr(self, name)
            digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def save(self, path: Path) -> None:
        """Write an .npz file, whole or not at all.

        Raises:
            StorageError, StorageFullError: it cannot be written.
        """
        buffer = io.BytesIO()
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        names = np.frombuffer(_names(self), dtype=np.uint8)
        np.savez(buffer, names=names, sha256=np.array(self.sha256), **arrays)
        write_whole(path, buffer.getvalue())


def build_database(
    scans: Iterable[LabelledScan],
    labelled: Collection[str],
    point_fields: tuple[str, ...],
    config: DatabaseConfig | None = None,
) -> GroundTruthDatabase:
    """The database of the exact, counted objects in `scans`.

    labelled: names of the frames whose labels may be used; a scan of any other frame is refused.

    Raises:
        InvalidValueError: a scan is not of the labelled split, comes twice, or has other point fields.
    """
    config, allowed, seen = config or DatabaseConfig(), frozenset(labelled), set[str]()
    boxes, labels, object_frames = [np.empty((0, 7), np.float32)], [np.empty(0, np.int64)], list[str]()
    points = [np.empty((0, len(point_fields)), np.float32)]
    for scan in scans:
        refuse_outside(_OWNER, (scan.frame_id,), allowed, "the labelled split")
        if scan.frame_id in seen:
            raise InvalidValueError(f"ground-truth database: frame {scan.frame_id} came twice; give each frame once")
        seen.add(scan.frame_id)
        check.shape(f"frame {scan.frame_id}", "points", scan.points, (None, len(point_fields)))
        truth = scan.truth.chosen(scan.truth.is_exact & ~scan.truth.is_ignored)
        rows = rows_in_boxes(scan.points, truth.boxes)
        kept = [k for k, inside in enumerate(rows) if len(inside) >= config.min_points]
        boxes.append(truth.boxes[kept])
        labels.append(truth.labels[kept])
        points += [scan.points[rows[k]] for k in kept]
        object_frames += [scan.frame_id] * len(kept)
    return GroundTruthDatabase(
        frame_ids=frozenset(seen),
        point_fields=point_fields,
        boxes=np.concatenate(boxes),
        labels=np.concatenate(labels),
        object_frames=tuple(object_frames),
        points=np.concatenate(points),
        offsets=np.cumsum([0, *(len(p) for p in points[1:])], dtype=np.int64),
    )


def load_database(path: Path, labelled: Collection[str]) -> GroundTruthDatabase:
    """The database in an .npz file that `save` wrote.

    labelled: names of the frames whose labels may be used; a database made of any other frame is refused.

    Raises:
        DatasetError: the file is missing or damaged.
        InvalidValueError: it was made of frames outside the labelled split.
    """
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
            names = json.loads(stored["names"].tobytes())
            if names["format"] != FORMAT:
                raise ValueError(f"format {names['format']}, expected {FORMAT}")
            database = GroundTruthDatabase(
                frame_ids=frozenset(names["frame_ids"]),
                point_fields=tuple(names["point_fields"]),
                object_frames=tuple(names["object_frames"]),
                **{name: stored[name] for name in _ARRAYS},
            )
            expected = str(stored["sha256"])
    except _FILE_FAULTS as error:
        raise DatasetError(f"{path}: no readable ground-truth database ({error}); build it again") from error
    if database.sha256 != expected:
        raise DatasetError(f"{path}: the ground-truth database is damaged, its SHA-256 differs; build it again")
    database.require_within(labelled)
    return database


def _names(database: GroundTruthDatabase) -> bytes:
    return json.dumps(
        {
            "format": FORMAT,
            "frame_ids": sorted(database.frame_ids),
            "point_fields": database.point_fields,
            "object_frames": database.object_frames,
        }
    ).encode()
