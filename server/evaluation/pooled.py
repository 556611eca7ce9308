"""The objects of all frames in one table, and the pairs of a labelled and a detected object that overlap.

An evaluation asks the same of every frame, so all frames are answered at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from server.evaluation.objects import DetectedObjects, EvaluatedFrame, TruthObjects
from shared_models.errors import InvalidValueError
from shared_models.geometry.iou import iou_3d_aligned, iou_bev_aligned
from shared_models.geometry.overlap import bounds_bev

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]
PAIRS_AT_ONCE: Final = 1 << 20  # bounds the memory of one step


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """G labelled and D detected objects, frame after frame.

    truth, detections: all objects in the order of their frames.
    truth_frame, detection_frame, region_frame: (G,), (D,), (I,) index of each one's frame.
    truth_kind, detection_kind: (G,), (D,) lower-case class names.
    """

    frame_ids: tuple[str, ...]
    truth: TruthObjects
    detections: DetectedObjects
    truth_frame: Integers
    detection_frame: Integers
    region_frame: Integers
    truth_kind: NDArray[np.str_]
    detection_kind: NDArray[np.str_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlaps:
    """P pairs of objects in the same frame that overlap, by truth, then detection.

    truth, detection: (P,) rows in the pool. iou: (P,) float64, above 0.
    """

    truth: Integers
    detection: Integers
    iou: Floats

    def chosen(self, rows: NDArray[np.bool_] | Integers) -> Overlaps:
        """The pairs that a mask or row numbers choose, in that order."""
        return Overlaps(truth=self.truth[rows], detection=self.detection[rows], iou=self.iou[rows])


def pool(frames: Sequence[EvaluatedFrame]) -> Pool:
    """All objects of `frames`.

    Raises:
        InvalidValueError: two frames have the same name.
    """
    frame_ids = tuple(frame.frame_id for frame in frames)
    if len(set(frame_ids)) != len(frame_ids):
        twice = next(name for index, name in enumerate(frame_ids) if name in frame_ids[:index])
        raise InvalidValueError(f"evaluation: expected different frames, frame {twice} comes twice")
    truth = _joined(TruthObjects, [frame.truth for frame in frames])
    detections = _joined(DetectedObjects, [frame.detections for frame in frames])
    return Pool(
        frame_ids=frame_ids,
        truth=truth,
        detections=detections,
        truth_frame=_frame_of_each([len(frame.truth) for frame in frames]),
        detection_frame=_frame_of_each([len(frame.detections) for frame in frames]),
        region_frame=_frame_of_each([len(frame.truth.image_only_boxes) for frame in frames]),
        truth_kind=_kinds(truth.class_names),
        detection_kind=_kinds(detections.class_names),
    )


def pairs_within_groups(a_group: Integers, b_group: Integers) -> Iterator[tuple[Integers, Integers]]:
    """Every pair (row of a, row of b) of the same group, by a, then b, in pieces of bounded size.

    a_group: (A,) group of each row. b_group: (B,) the same, ascending.
    """
    first, last = (np.searchsorted(b_group, a_group, side) for side in ("left", "right"))
    ends = np.cumsum(last - first)
    start = 0
    while start < len(a_group):
        done = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, done + PAIRS_AT_ONCE, "right")))
        counts = (last - first)[start:stop]
        a = np.repeat(np.arange(start, stop), counts)
        within = np.arange(len(a)) - np.repeat(np.cumsum(counts) - counts, counts)
        yield a, first[a] + within
        start = stop


def image_overlaps(objects: Pool) -> Overlaps:
    """Pairs whose rectangles in the image overlap, with their intersection over union."""
    found = []
    for truth, detection in pairs_within_groups(objects.truth_frame, objects.detection_frame):
        a, b = objects.truth.image_boxes[truth], objects.detections.image_boxes[detection]
        shared = _shared_area(a, b)
        found.append(_overlapping(truth, detection, _ratio(shared, _area(a) + _area(b) - shared)))
    return _all_of(found)


def box_overlaps(objects: Pool) -> tuple[Overlaps, Overlaps]:
    """Pairs whose boxes overlap from above, with their bird's-eye and their 3D intersection over union."""
    truth_boxes, detected_boxes = (torch.from_numpy(o.boxes) for o in (objects.truth, objects.detections))
    truth_bounds, detected_bounds = (bounds_bev(boxes).numpy() for boxes in (truth_boxes, detected_boxes))
    bev, volume = [], []
    for truth, detection in pairs_within_groups(objects.truth_frame, objects.detection_frame):
        a, b = truth_bounds[:, truth], detected_bounds[:, detection]
        meets = (a[0] < b[2]) & (b[0] < a[2]) & (a[1] < b[3]) & (b[1] < a[3])
        truth, detection = truth[meets], detection[meets]
        pair = truth_boxes[torch.from_numpy(truth)], detected_boxes[torch.from_numpy(detection)]
        bev.append(_overlapping(truth, detection, iou_bev_aligned(*pair).numpy()))
        volume.append(_overlapping(truth, detection, iou_3d_aligned(*pair).numpy()))
    return _all_of(bev), _all_of(volume)


def region_share(objects: Pool) -> Floats:
    """(D,) largest share of each detection's image box that one unlabelled region covers."""
    share = np.zeros(len(objects.detections))
    regions = objects.truth.image_only_boxes
    for region, detection in pairs_within_groups(objects.region_frame, objects.detection_frame):
        boxes = objects.detections.image_boxes[detection]
        np.maximum.at(share, detection, _ratio(_shared_area(regions[region], boxes), _area(boxes)))
    return share


def _joined(cls: Any, parts: Sequence[Any]) -> Any:
    names = tuple(name for part in parts for name in part.class_names)
    empty = {"boxes": (0, 7), "image_boxes": (0, 4), "image_only_boxes": (0, 4)}
    integers = ("occlusion", "point_counts")
    fields = [field for field in cls.__dataclass_fields__ if field != "class_names"]
    arrays = {}
    for field in fields:
        first = np.empty(empty.get(field, (0,)), dtype=np.int64 if field in integers else np.float64)
        arrays[field] = np.concatenate([first, *(getattr(part, field) for part in parts)])
    return cls(class_names=names, **arrays)


def _frame_of_each(counts: Sequence[int]) -> Integers:
    return np.repeat(np.arange(len(counts)), np.array(counts, dtype=np.int64))


def _kinds(names: Sequence[str]) -> NDArray[np.str_]:
    return np.array([name.casefold() for name in names], dtype=np.str_)


def _area(rectangles: Floats) -> Floats:
    return (rectangles[:, 2] - rectangles[:, 0]) * (rectangles[:, 3] - rectangles[:, 1])


def _shared_area(a: Floats, b: Floats) -> Floats:
    width = np.minimum(a[:, 2], b[:, 2]) - np.maximum(a[:, 0], b[:, 0])
    height = np.minimum(a[:, 3], b[:, 3]) - np.maximum(a[:, 1], b[:, 1])
    return np.maximum(width, 0) * np.maximum(height, 0)


def _ratio(part: Floats, whole: Floats) -> Floats:
    ratio: Floats = np.divide(part, whole, out=np.zeros_like(part), where=part > 0)
    return ratio


def _overlapping(truth: Integers, detection: Integers, iou: Floats) -> Overlaps:
    return Overlaps(truth=truth, detection=detection, iou=iou).chosen(iou > 0)


def _all_of(parts: Sequence[Overlaps]) -> Overlaps:
    none = np.empty(0, dtype=np.int64)
    return Overlaps(
        truth=np.concatenate([none, *(p.truth for p in parts)]),
        detection=np.concatenate([none, *(p.detection for p in parts)]),
        iou=np.concatenate([np.empty(0), *(p.iou for p in parts)]),
    )
