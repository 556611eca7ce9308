"""Small frames in KITTI's form for the tests of evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import pytest

from server.evaluation.kitti_folders import frame_of_objects
from server.evaluation.objects import EvaluatedFrame
from shared_models.datasets.kitti_labels import KittiObject


class MakeObject(Protocol):
    def __call__(self, kind: str = "Car", x: float = 0.0, z: float = 20.0, **changes: Any) -> KittiObject: ...


@pytest.fixture(scope="session")
def thing() -> MakeObject:
    """An object 4 m long to the right, 2 m deep, 2 m high, at right `x` and forward `z`, and 50 pixels high."""

    def make(kind: str = "Car", x: float = 0.0, z: float = 20.0, **changes: Any) -> KittiObject:
        left = 600 + 20 * x
        values: dict[str, Any] = {
            "truncation": 0.0,
            "occlusion": 0,
            "alpha_rad": 0.0,
            "image_box": (left, 100.0, left + 80, 150.0),
            "size_m": (2.0, 2.0, 4.0),
            "bottom_centre_m": (x, 1.7, z),
            "rotation_y_rad": 0.0,
        }
        return KittiObject(kind=kind, **{**values, **changes})

    return make


class MakeFrame(Protocol):
    def __call__(
        self, labelled: Sequence[KittiObject], detected: Sequence[KittiObject], name: str = "000000"
    ) -> EvaluatedFrame: ...


@pytest.fixture(scope="session")
def frame_of() -> MakeFrame:
    return lambda labelled, detected, name="000000": frame_of_objects(name, labelled, detected)


@pytest.fixture
def region() -> Any:
    """An unlabelled region of the image."""

    def make(*image_box: float) -> KittiObject:
        return KittiObject(
            kind="DontCare",
            truncation=-1,
            occlusion=-1,
            alpha_rad=-10,
            image_box=image_box,  # type: ignore[arg-type]
            size_m=(-1, -1, -1),
            bottom_centre_m=(-1000, -1000, -1000),
            rotation_y_rad=-10,
        )

    return make
