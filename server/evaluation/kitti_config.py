"""What counts in KITTI's evaluation: classes, difficulties, overlaps, distances."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Self

from shared_models.errors import InvalidValueError
from shared_models.records import check

METRICS: Final = ("image", "bev", "3d")
# The score that weighs each found object of a metric with the similarity of its orientation.
ORIENTED: Final = {"image": "aos", "bev": "bev_ahs", "3d": "3d_ahs"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassRule:
    """When a detection of a class has found an object. Names are compared without regard to case.

    name: of the class in labels and detections.
    image_iou: overlap of the image boxes that must be exceeded, 0 to 1.
    bev_iou: the same from above.
    volume_iou: the same in space.
    neighbours: classes that are so like this one that finding them is neither right nor wrong.
    """

    name: str = "Car"
    image_iou: float = 0.7
    bev_iou: float = 0.7
    volume_iou: float = 0.7
    neighbours: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check.name("ClassRule", "name", self.name, 64)
        for field in ("image_iou", "bev_iou", "volume_iou"):
            check.number("ClassRule", field, getattr(self, field), 0.01, 0.99)
        for neighbour in self.neighbours:
            check.name("ClassRule", "neighbours", neighbour, 64)
        if self.name.casefold() in (neighbour.casefold() for neighbour in self.neighbours):
            raise InvalidValueError(f"ClassRule.neighbours: expected other classes than {self.name}")

    def min_iou(self, metric: str) -> float:
        """The overlap that must be exceeded in this metric."""
        return {"image": self.image_iou, "bev": self.bev_iou, "3d": self.volume_iou}[metric]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difficulty:
    """Which objects of a class count; others of it are neither right nor wrong to find. None: no such limit.

    name: of the difficulty.
    min_height_px: an object's image box is higher than this; lower detections are ignored.
    max_occlusion: KITTI's level, at most this.
    max_truncation: share outside the image, at most this.
    min_points: LiDAR points inside the box, at least this.
    """

    name: str = "all"
    min_height_px: float | None = None
    max_occlusion: int | None = None
    max_truncation: float | None = None
    min_points: int | None = None

    def __post_init__(self) -> None:
        check.name("Difficulty", "name", self.name, 64)
        limits = (self.min_height_px, self.max_occlusion, self.max_truncation, self.min_points)
        check.number("Difficulty", "limits", tuple(limit for limit in limits if limit is not None), 0, 1e6)


CAR: Final = ClassRule(name="Car", neighbours=("Van",))
PEDESTRIAN: Final = ClassRule(
    name="Pedestrian", image_iou=0.5, bev_iou=0.5, volume_iou=0.5, neighbours=("Person_sitting",)
)
CYCLIST: Final = ClassRule(name="Cyclist", image_iou=0.5, bev_iou=0.5, volume_iou=0.5)
STRICT: Final = (CAR, PEDESTRIAN, CYCLIST)
LOOSE: Final = (
    ClassRule(name="Car", bev_iou=0.5, volume_iou=0.5, neighbours=("Van",)),
    ClassRule(name="Pedestrian", image_iou=0.5, bev_iou=0.25, volume_iou=0.25, neighbours=("Person_sitting",)),
    ClassRule(name="Cyclist", image_iou=0.5, bev_iou=0.25, volume_iou=0.25),
)
EASY: Final = Difficulty(name="easy", min_height_px=40, max_occlusion=0, max_truncation=0.15)
MODERATE: Final = Difficulty(name="moderate", min_height_px=25, max_occlusion=1, max_truncation=0.30)
HARD: Final = Difficulty(name="hard", min_height_px=25, max_occlusion=2, max_truncation=0.50)
SEEN_BY_LIDAR: Final = Difficulty(name="all", min_points=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class KittiEvaluationConfig:
    """KITTI's official evaluation, unless told otherwise.

    classes: what is searched for; KITTI's strict overlaps (car 0.7, pedestrian and cyclist 0.5).
    difficulties: one AP for each; KITTI's easy, moderate and hard.
    metrics: overlap in which space: image, bev, 3d.
    distance_edges_m: bands of distance from the origin along the ground, metres; the last has no end. Empty: no bands.
    few_objects: warn where fewer objects count, because AP at 40 recall points is capped there.
    """

    classes: tuple[ClassRule, ...] = STRICT
    difficulties: tuple[Difficulty, ...] = (EASY, MODERATE, HARD)
    metrics: tuple[str, ...] = METRICS
    distance_edges_m: tuple[float, ...] = (0.0, 20.0, 40.0)
    few_objects: int = 40

    def __post_init__(self) -> None:
        owner = "KittiEvaluationConfig"
        check.distinct_names(owner, "classes", [rule.name.casefold() for rule in self.classes], 100)
        check.distinct_names(owner, "difficulties", [difficulty.name for difficulty in self.difficulties], 100)
        check.distinct_names(owner, "metrics", self.metrics, len(METRICS))
        unknown = set(self.metrics) - set(METRICS)
        if unknown:
            raise InvalidValueError(f"{owner}.metrics: expected {', '.join(METRICS)}, got {', '.join(sorted(unknown))}")
        check.number(owner, "distance_edges_m", self.distance_edges_m, 0, 1e4)
        if any(near >= far for near, far in pairwise(self.distance_edges_m)):
            raise InvalidValueError(f"{owner}.distance_edges_m: expected rising edges, got {self.distance_edges_m}")
        check.count(owner, "few_objects", self.few_objects, 10**6, 0)

    @classmethod
    def without_camera(cls, classes: tuple[ClassRule, ...] = STRICT) -> Self:
        """For datasets without a camera: every object with at least one LiDAR point counts, from above and in space."""
        return cls(classes=classes, difficulties=(SEEN_BY_LIDAR,), metrics=("bev", "3d"))

    @property
    def needs_image(self) -> bool:
        """Whether a metric or a difficulty looks at image boxes."""
        return "image" in self.metrics or any(d.min_height_px is not None for d in self.difficulties)

    @property
    def bands_m(self) -> tuple[tuple[float, float], ...]:
        """(from, to) of each band of distance, metres; the last goes to infinity."""
        return tuple(pairwise((*self.distance_edges_m, math.inf)))
