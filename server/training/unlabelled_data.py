"""Raw scans without labels, for methods that need the points of unlabelled frames; UpCycling does not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from server.training.augment import AppliedTransform, Augmentation
from server.training.batches import Sample
from server.training.samples import LabelledScan, Truth
from shared_models.dataset import Dataset
from shared_models.datasets.kitti_calibration import camera_view
from shared_models.errors import DatasetError

NO_TRUTH = Truth.exact(np.zeros((0, 7), dtype=np.float32), np.zeros(0, dtype=np.int64))


class UnlabelledFrames:
    """The points of chosen frames; labels are not looked at, also where there are some."""

    def __init__(
        self, dataset: Dataset, frame_ids: Sequence[str], point_fields: tuple[str, ...], view: str = "all"
    ) -> None:
        self.frame_ids = tuple(frame_ids)
        self._dataset, self._fields, self._view = dataset, point_fields, view

    def __len__(self) -> int:
        return len(self.frame_ids)

    def scan(self, frame_id: str) -> LabelledScan:
        """The scan with an empty truth.

        Raises:
            NotFoundError, DatasetError, InvalidValueError: as `read_labelled`, but for labels.
        """
        frame = self._dataset.frame(frame_id)
        points = frame.columns(self._fields)
        if self._view == "camera":
            if frame.camera is None:
                raise DatasetError(f"frame {frame_id} has no camera; read it with view = 'all'")
            points = points[camera_view(points, frame.camera)]
        return LabelledScan(frame_id=frame_id, points=points, truth=NO_TRUTH)


class PrepareTwice:
    """Prepares an unlabelled sample as teacher and student see it: unchanged, and augmented."""

    def __init__(self, frames: UnlabelledFrames, augmentation: Augmentation) -> None:
        self.frames, self.augmentation = frames, augmentation

    def __call__(self, sample: Sample) -> tuple[LabelledScan, LabelledScan, AppliedTransform]:
        """The scan as it is, augmented, and the transform of the whole scene between the two."""
        scan = self.frames.scan(self.frames.frame_ids[sample.index])
        augmented = self.augmentation.apply_recorded(scan, sample.rng())
        return scan, augmented.scan, augmented.transform
