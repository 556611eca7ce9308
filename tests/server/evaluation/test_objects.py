from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from server.evaluation.objects import upright_from_camera
from shared_models.errors import InvalidValueError


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("boxes", np.full((1, 7), np.nan), "TruthObjects.boxes: expected finite numbers, got nan at (0, 0)"),
        ("boxes", np.zeros((1, 7)), "expected sizes above 0 m"),
        ("boxes", np.ones((1, 7), dtype=np.float32), "TruthObjects.boxes: expected dtype"),
        ("image_boxes", np.full((1, 4), np.inf), "TruthObjects.image_boxes"),
        ("truncation", np.array([np.nan]), "TruthObjects.truncation"),
        ("occlusion", np.zeros(2, dtype=np.int64), "TruthObjects.occlusion: expected shape (1)"),
        ("image_only_boxes", np.full((1, 4), np.nan), "TruthObjects.image_only_boxes"),
    ],
)
def test_wrong_labels_are_refused(field, value, message, thing, frame_of) -> None:
    truth = frame_of([thing()], []).truth
    with pytest.raises(InvalidValueError) as error:
        replace(truth, **{field: value})
    assert message in str(error.value)


@pytest.mark.parametrize("score", [np.nan, np.inf])
def test_wrong_scores_are_refused(score, thing, frame_of) -> None:
    detections = frame_of([], [thing(score=0.5)]).detections
    with pytest.raises(InvalidValueError, match=r"DetectedObjects.scores: expected finite"):
        replace(detections, scores=np.array([score]))


def test_upright_boxes_by_hand() -> None:
    """3 m to the right, 1.5 m below and 20 m ahead of the camera; its length to the right, then straight ahead."""
    bottoms, sizes = np.array([[3.0, 1.5, 20.0]] * 2), np.array([[1.0, 2.0, 4.0]] * 2)
    boxes = upright_from_camera(bottoms, sizes, np.array([0.0, -np.pi / 2]))
    np.testing.assert_allclose(boxes[0], [20, -3, -1, 4, 2, 1, -np.pi / 2])
    np.testing.assert_allclose(boxes[1], [20, -3, -1, 4, 2, 1, 0])
