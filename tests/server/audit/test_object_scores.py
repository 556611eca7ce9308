"""Objects that come back, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from server.audit.intervals import IntervalConfig
from server.audit.object_scores import ObjectScores
from server.audit.scenes import SceneTruth
from shared_models.records import Detections

CAR = [12.0, 0.0, -0.8, 4.0, 2.0, 1.6, 0.0]
CLASSES = ("Car", "Pedestrian")
CONFIG = IntervalConfig(rounds=50, fewest_scenes=3)


def truth(name: str, boxes: list[list[float]], points_in: int = 8, drive: str = "") -> SceneTruth:
    """Each box has points in its middle."""
    points = [[*box[:3], 0.5] for box in boxes for _ in range(points_in)]
    return SceneTruth(
        scene_id=name,
        points=np.array(points, np.float32).reshape(-1, 4),
        boxes=np.array(boxes, np.float32).reshape(-1, 7),
        class_names=("Car",) * len(boxes),
        properties={"drive": drive or name},
    )


def found(boxes: list[list[float]], scores: list[float]) -> Detections:
    return Detections(
        boxes=torch.tensor(boxes).reshape(-1, 7),
        scores=torch.tensor(scores),
        labels=torch.zeros(len(scores), dtype=torch.int64),
        class_names=CLASSES,
    )


def shifted(box: list[float], along_m: float) -> list[float]:
    return [box[0] + along_m, *box[1:]]


def test_by_hand() -> None:
    other = shifted(CAR, 10)
    truths = [truth("a", [CAR, other]), truth("b", [CAR]), truth("c", [CAR])]
    detections = [
        found([CAR, shifted(other, 1.0)], [0.9, 0.8]),  # the second overlaps by 3 of 5 m: 0.6, loose only
        found([CAR], [0.2]),  # right, but not sure enough to count as found
        found([shifted(CAR, 20)], [0.7]),  # elsewhere
    ]
    numbers = ObjectScores(truths, CLASSES, least_score=0.3).estimates(detections, CONFIG, 0)
    means = {name: estimate.mean for name, estimate in numbers.items()}
    assert (means["Car/objects"], means["Car/found_loose"], means["Car/found_strict"]) == (4, 2, 1)
    assert (means["Car/recall_loose"], means["Car/recall_strict"]) == (0.5, 0.25)
    # Loose, by falling score: hit, hit, miss, hit of 4 objects: 1/4 + 1/4 + 1/4 x 3/4. Strict: hit, miss, miss, hit.
    assert means["Car/ap_loose"] == pytest.approx(0.25 + 0.25 + 0.25 * 0.75)
    assert means["Car/ap_strict"] == pytest.approx(0.25 + 0.25 * 0.5)
    assert (means["Pedestrian/objects"], means["Pedestrian/recall_loose"], means["Pedestrian/ap_loose"]) == (
        0,
        None,
        None,
    )
    assert numbers["Car/recall_loose"].low <= 0.5 <= numbers["Car/recall_loose"].high
    scenes = ObjectScores(truths, CLASSES, least_score=0.3).of_scenes(detections)
    assert [scene.numbers["Car/found_loose"] for scene in scenes] == [2, 0, 0]


def test_objects_with_hardly_a_point_do_not_count() -> None:
    measure = ObjectScores([truth("a", [CAR], points_in=4)], CLASSES, 0.3)
    numbers = measure.estimates([found([CAR], [0.9])], CONFIG, 0)
    assert numbers["Car/objects"].mean == 0
    assert numbers["Car/recall_strict"].mean is None


def test_few_drives_and_missing_classes_are_said() -> None:
    measure = ObjectScores([truth(name, [CAR], drive="one") for name in "abc"], CLASSES, 0.3)
    assert measure.estimates([found([CAR], [0.9])] * 3, CONFIG, 0)["Car/recall_loose"].low is None
    notes = measure.notes(CONFIG)
    assert any("1 drives" in note for note in notes)
    assert any("Pedestrian" in note for note in notes)
