"""The objects of the labelled frames as features of the frozen backbone, for feature-level ground-truth sampling.

The twin of `server.training.ground_truth_database`, under the same guard: it is made of the labelled split and of
nothing else. `bank_building` makes it.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from server.training.atomic_files import write_whole
from server.training.features.geometry import FeatureMap, Footprints
from server.training.split_guard import refuse_outside
from shared_models.errors import BackboneMismatchError, DatasetError, InvalidValueError
from shared_models.records import check

FORMAT: Final = 1
OWNER: Final = "feature bank"
_ARRAYS: Final = (
    "boxes",
    "labels",
    "coords",
    "features",
    "cell_offsets",
    "positions",
    "keypoint_features",
    "keypoint_offsets",
)
_FILE_FAULTS: Final = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureBankConfig:
    """Which objects are kept, and which of their features. The paper says nothing of it: these are readings.

    min_points: objects with fewer points in their box are left out; OpenPCDet's 5.
    margin_m: by which the box is larger, on each side of its length and width, for choosing cells, metres. An object
        also fills cells beside its box; cut off there it looks as no real one does, and boxes get worse from learning
        it (docs/results.md). 0.8 m is one cell of the settings `tiny` and `small`, two of `kitti`.
    source: "scene": features of the object in its own scene, with the background in their receptive field;
        "object_only": features of the object's points alone.
    keeps_small: an object whose box holds no cell's centre, as many a pedestrian among cells of 0.8 m, has the column
        nearest to its own centre; otherwise it is left out.
    dtype: "float32" or "float16" of the kept features; half the memory for a rounding of 0.05 %.
    """

    min_points: int = 5
    margin_m: float = 0.8
    source: Literal["scene", "object_only"] = "scene"
    keeps_small: bool = True
    dtype: Literal["float32", "float16"] = "float32"

    def __post_init__(self) -> None:
        check.count("FeatureBankConfig", "min_points", self.min_points, 100_000)
        check.number("FeatureBankConfig", "margin_m", self.margin_m, 0, 10)
        for field, known in (("source", ("scene", "object_only")), ("dtype", ("float32", "float16"))):
            if getattr(self, field) not in known:
                raise InvalidValueError(
                    f"FeatureBankConfig.{field}: expected {' or '.join(known)}, got {getattr(self, field)!r}"
                )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FeatureBank:
    """K labelled objects as features; K = 0 is valid.

    frame_ids: every frame that it was made of, also those without objects.
    backbone_hash: of the detector that made it. split_layer: whose cells they are.
    feature_map: where cells lie. config: what it was made with.
    keypoint_count: keypoints of a scene; 0 for detectors without them.
    boxes: (K, 7) float32 [x y z length width height yaw], metres and radians, LiDAR frame of the object's own frame.
    labels: (K,) int64, index into the detector's class names.
    object_frames: K names, the frame of each object.
    coords: (S, 3) int32 [z y x], active cells of all objects one after the other, sorted within each.
    features: (S, C) float32 or float16. cell_offsets: (K + 1,) int64; object k has rows offsets[k] to offsets[k + 1].
    positions: (P, 3) float32 [x y z], metres, keypoints of all objects. keypoint_features: (P, C') as `features`.
    keypoint_offsets: (K + 1,) int64.
    """

    frame_ids: frozenset[str]
    backbone_hash: str
    split_layer: str
    feature_map: FeatureMap
    config: FeatureBankConfig
    keypoint_count: int
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    object_frames: tuple[str, ...]
    coords: NDArray[np.int32]
    features: NDArray[np.floating[Any]]
    cell_offsets: NDArray[np.int64]
    positions: NDArray[np.float32]
    keypoint_features: NDArray[np.floating[Any]]
    keypoint_offsets: NDArray[np.int64]

    def __post_init__(self) -> None:
        count = len(self.object_frames)
        check.sha256_hex("FeatureBank", "backbone_hash", self.backbone_hash)
        check.shape("FeatureBank", "boxes", self.boxes, (count, 7))
        check.dtype("FeatureBank", "boxes", self.boxes, np.float32)
        check.shape("FeatureBank", "labels", self.labels, (count,))
        check.shape("FeatureBank", "coords", self.coords, (None, 3))
        check.dtype("FeatureBank", "coords", self.coords, np.int32)
        check.shape("FeatureBank", "features", self.features, (len(self.coords), None))
        check.shape("FeatureBank", "positions", self.positions, (None, 3))
        check.shape("FeatureBank", "keypoint_features", self.keypoint_features, (len(self.positions), None))
        for field in ("features", "keypoint_features"):
            check.dtype("FeatureBank", field, getattr(self, field), np.dtype(self.config.dtype))
        _check_offsets("cell_offsets", self.cell_offsets, count, len(self.coords))
        _check_offsets("keypoint_offsets", self.keypoint_offsets, count, len(self.positions))
        refuse_outside(OWNER, self.object_frames, self.frame_ids, "the frames that the bank was made of")

    def __len__(self) -> int:
        return len(self.object_frames)

    def rows_of(self, label: int) -> NDArray[np.int64]:
        """Rows of the objects of one class, ascending."""
        rows: NDArray[np.int64] = np.flatnonzero(self.labels == label)
        return rows

    def footprints(self, boxes: NDArray[np.float32]) -> Footprints:
        """Columns of the map that are taken for the features of an object in each of `boxes` (M, 7)."""
        config = self.config
        return self.feature_map.footprints(boxes, config.margin_m, includes_nearest=config.keeps_small)

    def cells_of(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Of chosen objects, one after the other: (S',) number of the object among `rows`, (S',) rows of `coords`."""
        return _expanded(self.cell_offsets, rows)

    def keypoints_of(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """As `cells_of`, for rows of `positions`."""
        return _expanded(self.keypoint_offsets, rows)

    def require_within(self, labelled: Collection[str]) -> None:
        """Every frame that this was made of is one of `labelled`.

        Raises:
            InvalidValueError: it is not; the message names the frame.
        """
        refuse_outside(OWNER, sorted(self.frame_ids), frozenset(labelled), "the labelled split")

    def require_backbone(self, backbone_hash: str, what: str) -> None:
        """Features of `what` come from the backbone that made this.

        Raises:
            BackboneMismatchError: they do not.
        """
        if backbone_hash != self.backbone_hash:
            raise BackboneMismatchError(
                f"{what}: features of backbone {backbone_hash[:12]}, the feature bank has {self.backbone_hash[:12]}; "
                f"build the bank with the checkpoint that the vehicles used"
            )

    @property
    def sha256(self) -> str:
        """SHA-256 of all that it holds, 64 hexadecimal digits."""
        digest = hashlib.sha256(_words(self))
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
        np.savez(buffer, words=np.frombuffer(_words(self), dtype=np.uint8), sha256=np.array(self.sha256), **arrays)
        write_whole(path, buffer.getvalue())


def load_bank(path: Path, labelled: Collection[str], backbone_hash: str) -> FeatureBank:
    """The bank in an .npz file that `save` wrote.

    labelled: names of the frames whose labels may be used. backbone_hash: of the detector that it is for.

    Raises:
        DatasetError: the file is missing or damaged.
        InvalidValueError: it was made of frames outside the labelled split.
        BackboneMismatchError: another backbone made it.
    """
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
            bank = _bank(json.loads(stored["words"].tobytes()), {name: stored[name] for name in _ARRAYS})
            expected = str(stored["sha256"])
    except _FILE_FAULTS as error:
        raise DatasetError(f"{path}: no readable feature bank ({error}); build it again") from error
    if bank.sha256 != expected:
        raise DatasetError(f"{path}: the feature bank is damaged, its SHA-256 differs; build it again")
    bank.require_within(labelled)
    bank.require_backbone(backbone_hash, f"the detector that {path.name} is loaded for")
    return bank


def _bank(words: dict[str, Any], arrays: dict[str, Any]) -> FeatureBank:
    if words.pop("format") != FORMAT:
        raise ValueError(f"another format, expected {FORMAT}")
    geometry = {name: tuple(value) for name, value in words.pop("feature_map").items()}
    return FeatureBank(
        frame_ids=frozenset(words.pop("frame_ids")),
        object_frames=tuple(words.pop("object_frames")),
        feature_map=FeatureMap(**geometry),
        config=FeatureBankConfig(**words.pop("config")),
        **words,
        **arrays,
    )


def _words(bank: FeatureBank) -> bytes:
    return json.dumps(
        {
            "format": FORMAT,
            "frame_ids": sorted(bank.frame_ids),
            "object_frames": bank.object_frames,
            "backbone_hash": bank.backbone_hash,
            "split_layer": bank.split_layer,
            "feature_map": asdict(bank.feature_map),
            "config": asdict(bank.config),
            "keypoint_count": bank.keypoint_count,
        }
    ).encode()


def _check_offsets(field: str, offsets: NDArray[np.int64], count: int, rows: int) -> None:
    check.shape("FeatureBank", field, offsets, (count + 1,))
    if offsets[0] != 0 or offsets[-1] != rows or (np.diff(offsets) < 0).any():
        raise InvalidValueError(f"FeatureBank.{field}: expected 0 rising to {rows}")


def _expanded(offsets: NDArray[np.int64], rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    counts = offsets[rows + 1] - offsets[rows]
    starts = offsets[rows] - (np.cumsum(counts) - counts)
    return np.repeat(np.arange(len(rows)), counts), np.arange(counts.sum()) + np.repeat(starts, counts)
