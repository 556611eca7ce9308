"""Which labelled objects are put into a scene: the rules that raw-level and feature-level sampling share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from server.training.array_geometry import overlaps_bev


class LabelledObjects(Protocol):
    """Labelled objects by class."""

    def rows_of(self, label: int) -> NDArray[np.int64]:
        """Rows of the objects of one class, ascending."""
        ...


def draw_objects(
    objects: LabelledObjects,
    numbers: Sequence[int],
    rng: np.random.Generator,
    held_labels: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """Rows of drawn objects, class by class, none twice.

    numbers: objects to draw per class; classes beyond get none.
    held_labels: classes of the objects that the scene already holds and that `numbers` counts, if it does.
    """
    drawn = [np.empty(0, dtype=np.int64)]
    for label, number in enumerate(numbers):
        known = objects.rows_of(label)
        held = int((held_labels == label).sum()) if held_labels is not None else 0
        drawn.append(rng.choice(known, size=min(max(number - held, 0), len(known)), replace=False))
    return np.concatenate(drawn)


def free_of_collisions(scene: NDArray[np.float32], boxes: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(K,) bool: boxes that share no area, seen from above, with the scene's or with one that was let in before.

    scene: (M, 7), boxes: (K, 7), in one frame; the earlier of `boxes` goes before the later.
    """
    overlaps = overlaps_bev(boxes, np.concatenate((scene, boxes)))
    is_taken = np.zeros(len(scene) + len(boxes), dtype=bool)
    is_taken[: len(scene)] = True
    for k in range(len(boxes)):
        is_taken[len(scene) + k] = not (overlaps[k] & is_taken).any()
    return is_taken[len(scene) :]
