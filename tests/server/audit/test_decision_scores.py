"""Answers beside chance and ceiling, with the sentences that belong to them."""

from __future__ import annotations

import numpy as np
import pytest

from server.audit.decision_measures import Visits
from server.audit.decision_scores import TPR, MembershipScores, PropertyScores, RetrievalScores
from server.audit.intervals import IntervalConfig
from server.audit.scenes import SceneTruth

CONFIG = IntervalConfig(rounds=50, fewest_scenes=3)


def truth(name: str, street: str, drive: str) -> SceneTruth:
    return SceneTruth(
        scene_id=name,
        points=np.zeros((0, 4), np.float32),
        boxes=np.zeros((0, 7), np.float32),
        class_names=(),
        properties={"street": street, "drive": drive},
    )


def test_places() -> None:
    """Four streets, two drives along each; descriptors that are the street's number find all of them."""
    numbers = np.repeat(np.arange(4.0), 2)[:, None]
    truths = [truth(f"s{i}", f"street-{i // 2}", f"drive-{i}") for i in range(8)]
    visits = Visits.of([t.drive for t in truths], [t.street for t in truths], np.zeros((8, 2)), 5.0)
    measure = RetrievalScores(truths, visits, CONFIG, 0)
    found = measure.numbers(numbers, np.zeros((8, 1)))
    assert found["estimates"]["recall@1"]["mean"] == 1
    assert found["floors"]["chance"]["recall@1"]["mean"] == pytest.approx(1 / 7)
    assert found["floors"]["chance"]["recall@5"]["mean"] == pytest.approx(5 / 7)
    # All alike: each is nearest to the first scene of another drive, which is right for the second one only.
    assert found["ceilings"]["raw points"]["recall@1"]["mean"] == pytest.approx(2 / 8)
    assert found["notes"] == []
    assert len(found["scenes"]) == 8


def test_membership() -> None:
    members = [truth(f"m{i}", "m", f"m-{i}") for i in range(4)]
    others = [truth(f"o{i}", "o", f"o-{i}") for i in range(4)]
    measure = MembershipScores(members, others, CONFIG, 0)
    found = measure.numbers(np.array([3.0, 3, 3, 0, 1, 1, 1, 1]), np.zeros(8))
    assert found["estimates"]["auc"]["mean"] == pytest.approx(0.75)
    assert found["estimates"][TPR]["mean"] == pytest.approx(0.75)
    assert found["ceilings"]["raw points"]["auc"]["mean"] == 0.5
    assert found["floors"]["chance"][TPR]["mean"] == 0.01
    assert found["estimates"]["auc"]["low"] < 0.75 < found["estimates"]["auc"]["high"]
    assert any("too few others (4) for a TPR at 1 % FPR" in note for note in found["notes"])
    assert found["scenes"][3] == {"scene_id": "m3", "numbers": {"score": 0.0, "is_member": 1.0}}


def test_properties() -> None:
    truths = [truth(f"s{i}", f"sim-x-{i % 4:04d}", f"d{i}") for i in range(8)]
    actual = ["wet"] * 6 + ["dry"] * 2
    found = PropertyScores(truths, actual, CONFIG, 0).numbers(["wet"] * 7 + ["dry"], actual)
    assert found["estimates"]["accuracy"]["mean"] == pytest.approx(7 / 8)
    assert found["estimates"]["recall/dry"]["mean"] == 0.5
    assert found["floors"]["chance"]["accuracy"]["mean"] == 0.75
    assert found["ceilings"]["raw points"]["accuracy"]["mean"] == 1
    assert found["estimates"]["recall/dry"]["low"] is None  # of two streets only
