"""Camera images by dataset name; one that is not listed has none on disk. Reading them needs Pillow (extra `plot`)."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from shared_models.errors import DatasetError, MissingDependencyError
from shared_models.records import Frame
from shared_models.table import load

# name -> function from (root, frame_id) to the image's path, or None
IMAGE_PATHS: Final = {
    "kitti": "shared_models.datasets.camera_images:kitti_image_path",
    "nuscenes": "shared_models.datasets.nuscenes:camera_image_path",
    "pandaset": "shared_models.datasets.pandaset:camera_image_path",
}


def camera_image(name: str, root: Path, frame: Frame) -> NDArray[np.uint8] | None:
    """(H, W, 3) uint8 red, green, blue of the camera that `frame.camera` describes; None where there is no image.

    Raises:
        DatasetError: the image is there and damaged.
        MissingDependencyError: Pillow is not installed.
    """
    if frame.image is not None:
        return frame.image.colour
    if name not in IMAGE_PATHS:
        return None
    path: Path | None = load(IMAGE_PATHS, "camera image", name)(root, frame.frame_id)
    return read_image(path) if path is not None and path.is_file() else None


def kitti_image_path(root: Path, frame_id: str) -> Path:
    """Where camera 2's image of a frame lies."""
    folder, _, name = frame_id.partition("-")
    return root / folder / "image_2" / f"{name}.png"


def read_image(path: Path) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 of a PNG or JPEG file.

    Raises:
        DatasetError: the file cannot be read.
        MissingDependencyError: Pillow is not installed.
    """
    pillow = _pillow()
    try:
        with pillow.open(path) as image:
            return np.asarray(image.convert("RGB"), dtype=np.uint8)
    except (OSError, ValueError, SyntaxError) as error:
        raise DatasetError(f"{path}: cannot be read as an image: {error}") from error


def encode_png(image: NDArray[np.uint8]) -> bytes:
    """The bytes of a PNG file of a (H, W, 3) uint8 image.

    Raises:
        MissingDependencyError: Pillow is not installed.
    """
    buffer = io.BytesIO()
    _pillow().fromarray(np.ascontiguousarray(image)).save(buffer, format="PNG")
    return buffer.getvalue()


def _pillow() -> Any:
    try:
        from PIL import Image
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "camera images need Pillow, which is not installed; install it with: pip install 'upcycle-fleet[plot]'"
        ) from error
    return Image
