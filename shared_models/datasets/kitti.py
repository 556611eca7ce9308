"""KITTI's object detection folder: scans, calibration, labels and splits.

    ROOT/ImageSets/{train,val,test}.txt
    ROOT/{training,testing}/{velodyne,velodyne_reduced,calib,label_2,image_2}/NNNNNN.*

Images are optional: only their size is read, from the PNG header. Where an image is missing, the size that most KITTI
frames have (375 x 1242) is taken.
Source of the format: A. Geiger et al., "Are we ready for autonomous driving?", CVPR 2012, and its development kit.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from shared_models.dataset import Dataset
from shared_models.datasets.kitti_calibration import camera_view, read_calibration
from shared_models.datasets.kitti_labels import read_labels
from shared_models.datasets.kitti_text import read_lines
from shared_models.errors import ConfigError, DatasetError, NotFoundError
from shared_models.records import CameraCalibration, Frame

FOLDERS: Final = ("training", "testing")
POINT_CHOICES: Final = ("auto", "full", "reduced")
POINT_BYTES: Final = 16
MAX_SCAN_BYTES: Final = 64 * 2**20  # 4 million points, 30 times a real scan
MAX_DISTANCE_M: Final = 1000.0
STANDARD_IMAGE_SIZE: Final = (375, 1242)


@dataclass(frozen=True, slots=True, kw_only=True)
class KittiConfig:
    """Which frames are read, and which of their points.

    split: "all", "training" or "testing" (every scan in the folders), or the name of a file in ImageSets ("train",
        "val", "test", ...); names beginning with "test" lie in the testing folder. Several with "+": "train+test".
    points: "full" is the whole sweep of `velodyne`; "reduced" is what camera 2 sees, from `velodyne_reduced`; "auto"
        is what camera 2 sees, from `velodyne_reduced` where that exists and else cut from `velodyne`.
    with_labels: read `label_2`; without, no frame has labels.
    """

    split: str = "all"
    points: str = "auto"
    with_labels: bool = True

    def __post_init__(self) -> None:
        if self.points not in POINT_CHOICES:
            raise ConfigError(f"KittiConfig.points: expected one of {', '.join(POINT_CHOICES)}, got {self.points!r}")
        if not all(part.replace("_", "").isalnum() for part in self.split.split("+")):
            raise ConfigError(
                f"KittiConfig.split: expected letters, digits and '_', several with '+', got {self.split[:80]!r}"
            )


class KittiDataset(Dataset):
    """Frames of KITTI's object detection folder, named `training-NNNNNN` and `testing-NNNNNN`."""

    def __init__(self, root: Path, config: KittiConfig | None = None) -> None:
        self._root = Path(root)
        self._config = config or KittiConfig()
        if not any((self._root / folder).is_dir() for folder in FOLDERS):
            raise DatasetError(
                f"{self._root}: expected KITTI's object detection folder, which holds training/ or testing/; "
                f"give the folder above them"
            )
        self._scan_folders = {"full": ("velodyne",), "reduced": ("velodyne_reduced",)}.get(
            self._config.points, ("velodyne_reduced", "velodyne")
        )
        self._frame_ids = self._list_frames()
        self._known = frozenset(self._frame_ids)

    @classmethod
    def open(cls, root: Path, split: str = "all") -> Self:
        return cls(root, KittiConfig(split=split))

    @classmethod
    def open_unlabelled(cls, root: Path, split: str = "all") -> Self:
        return cls(root, KittiConfig(split=split, with_labels=False))

    @property
    def frame_ids(self) -> tuple[str, ...]:
        return self._frame_ids

    def frame(self, frame_id: str) -> Frame:
        if frame_id not in self._known:
            raise NotFoundError(
                f"{self._root}: no frame {frame_id!r} in split {self._config.split!r}; "
                f"its {len(self)} frames are named like {self._frame_ids[0]!r}"
                if self._frame_ids
                else f"{self._root}: split {self._config.split!r} has no frames"
            )
        folder, _, name = frame_id.partition("-")
        base = self._root / folder
        camera = read_calibration(base / "calib" / f"{name}.txt", _image_size(base / "image_2" / f"{name}.png"))
        label_path = base / "label_2" / f"{name}.txt"
        has_labels = self._config.with_labels and folder == "training" and label_path.parent.is_dir()
        return Frame(
            frame_id=frame_id,
            points=self._points(base, name, camera),
            labels=read_labels(label_path, camera) if has_labels else None,
            camera=camera,
        )

    def _points(self, base: Path, name: str, camera: CameraCalibration) -> NDArray[np.float32]:
        candidates = [base / folder / f"{name}.bin" for folder in self._scan_folders]
        path = next((p for p in candidates if p.is_file()), candidates[-1])
        points = read_scan(path)
        is_whole_sweep = path.parent.name == "velodyne"
        if is_whole_sweep and self._config.points == "auto":
            return points[camera_view(points, camera)]
        return points

    def _list_frames(self) -> tuple[str, ...]:
        # A frame that several of the splits name comes once.
        parts = (self._frames_of(part) for part in self._config.split.split("+"))
        return tuple(dict.fromkeys(frame_id for part in parts for frame_id in part))

    def _frames_of(self, split: str) -> tuple[str, ...]:
        if split == "all" or split in FOLDERS:
            folders = FOLDERS if split == "all" else (split,)
            return tuple(f"{folder}-{name}" for folder in folders for name in self._scan_names(folder))
        path = self._root / "ImageSets" / f"{split}.txt"
        if not path.is_file():
            known = sorted(p.stem for p in path.parent.glob("*.txt"))
            raise DatasetError(f"{path}: no such split; known: {', '.join(['all', *FOLDERS, *known])}")
        folder = "testing" if split.startswith("test") else "training"
        return tuple(f"{folder}-{name}" for name in _read_split(path))

    def _scan_names(self, folder: str) -> list[str]:
        scans = (p for scans in self._scan_folders for p in (self._root / folder / scans).glob("*.bin"))
        return sorted({p.stem for p in scans})


def _read_split(path: Path) -> list[str]:
    names: list[str] = []
    seen: set[str] = set()
    for line_number, line in read_lines(path):
        if not line.isalnum():
            raise DatasetError(f"{path}:{line_number}: expected one frame number a line, got {line[:40]!r}")
        if line in seen:
            raise DatasetError(f"{path}:{line_number}: frame {line} is listed twice")
        seen.add(line)
        names.append(line)
    return names


def read_scan(path: Path) -> NDArray[np.float32]:
    """(N, 4) float32 [x y z intensity] of one scan file, metres, LiDAR frame, intensity 0 to 1; N = 0 is valid.

    Raises:
        DatasetError: the file is missing, cut short, too large, or holds values that no scan has.
    """
    try:
        size = path.stat().st_size
        if size % POINT_BYTES or size > MAX_SCAN_BYTES:
            raise DatasetError(
                f"{path}: expected a multiple of {POINT_BYTES} bytes, at most {MAX_SCAN_BYTES}, got {size}; "
                f"the scan is cut short or of another format"
            )
        points = np.frombuffer(path.read_bytes(), dtype="<f4").reshape(-1, 4).astype(np.float32)
    except FileNotFoundError as error:
        raise DatasetError(f"{path}: the scan is missing") from error
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror}") from error
    _check_scan(path, points)
    return points


def _check_scan(path: Path, points: NDArray[np.float32]) -> None:
    if not len(points):
        return
    is_finite = np.isfinite(points).all(axis=1)
    if not is_finite.all():
        row = int(np.argmin(is_finite))
        raise DatasetError(f"{path}: expected finite numbers, got {points[row].tolist()} in point {row}")
    farthest_m = float(np.abs(points[:, :3]).max())
    low, high = float(points[:, 3].min()), float(points[:, 3].max())
    if farthest_m > MAX_DISTANCE_M or low < 0 or high > 1:
        raise DatasetError(
            f"{path}: expected coordinates within {MAX_DISTANCE_M:g} m and intensities 0 to 1, "
            f"got up to {farthest_m:g} m and intensities {low:g} to {high:g}; is this a KITTI scan?"
        )


def _image_size(path: Path) -> tuple[int, int]:
    """(height, width) in pixels from the header of a PNG file; KITTI's usual size where there is no file."""
    try:
        with path.open("rb") as file:
            header = file.read(24)
    except FileNotFoundError:
        return STANDARD_IMAGE_SIZE
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror}") from error
    if len(header) < 24 or header[:8] != b"\x89PNG\r\n\x1a\n" or header[12:16] != b"IHDR":
        raise DatasetError(f"{path}: expected a PNG image, got another or a truncated file")
    width, height = struct.unpack(">II", header[16:24])
    return int(height), int(width)
