"""Membership from confidence, against the formula worked out apart from it."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from server.audit.attack import Workbench
from server.audit.attacks.confidence import Confidence, ConfidenceConfig
from server.audit.decision_measures import auc
from server.audit.threat import Ability
from shared_models import codecs
from shared_models.errors import BackboneMismatchError, InvalidValueError, PayloadError

BENCH = Workbench()


def probabilities(detector, payload: bytes) -> np.ndarray:
    with torch.inference_mode():
        first = detector.first_stage(detector.batch_of([codecs.decode(payload)]).grid)
        logits = detector.dense_head.class_logits(first.predictions)[0].double().numpy()
    return np.sort((1 / (1 + np.exp(-logits))).max(1))[::-1]


@pytest.mark.parametrize("anchors", [0, 7])
def test_the_score_is_the_written_formula(anchors: int, small_view) -> None:
    view = small_view("conv_out")
    payload = view.payloads[0]
    p = probabilities(view.white_box(), payload)[: anchors or None]
    for signal, expected in (("loss", np.log(np.maximum(p, 1 - p)).mean()), ("objects", p.mean())):
        attack = Confidence(ConfidenceConfig(signal=signal, anchors=anchors))
        attack.prepare(view, BENCH)
        assert attack.membership_score(payload) == pytest.approx(expected, rel=1e-5)


def test_decided_is_the_share_of_what_looks_like_an_object_that_is_sure() -> None:
    def score(*p: float) -> float:
        return float(Confidence()._signal(torch.tensor(p, dtype=torch.float64)))

    assert score(0.9, 0.6, 0.3, 0.2, 0.01, 0.04) == pytest.approx(1.5 / 2.0)
    assert score(0.9, 0.6, 0.9, 0.6, 0.3, 0.2, 0.3, 0.2) == pytest.approx(1.5 / 2.0)  # twice as many objects
    assert score(0.5, 0.05) == 0
    assert score(0.05, 0.01) == 0
    assert score() == 0


def test_a_detector_that_knows_scenes_by_heart_gives_them_away(small_view) -> None:
    """Heads that were trained on the objects of six scenes, and then asked about those six and six others."""
    view = small_view("conv_out", scenes=12)
    detector = copy.deepcopy(view.white_box()).requires_grad_(False)
    features = [codecs.decode(scene.payload) for scene in view.own_scenes()]
    learned = features[:6]
    with torch.enable_grad():
        batch = detector.batch_of(learned)
        anchors = detector.dense_head.class_logits(detector.first_stage(batch.grid).predictions).shape[1]
        objects = torch.zeros((6, anchors))
        for row in range(6):
            objects[row, torch.randperm(anchors, generator=torch.Generator().manual_seed(row))[:5]] = 1
        rest = [*detector.backbone_2d.parameters(), *detector.dense_head.parameters()]
        for parameter in rest:
            parameter.requires_grad_(True)
        optimiser = torch.optim.Adam(rest, lr=0.01)
        for _ in range(150):
            logits = detector.dense_head.class_logits(detector.first_stage(batch.grid).predictions).amax(2)
            weight = torch.where(objects > 0, 50.0, 1.0)
            loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, objects, weight)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    attack = Confidence()
    attack.prepare(replace(view, detector=detector), BENCH)
    scores = np.array([attack.membership_score(scene.payload) for scene in view.own_scenes()])
    assert auc(scores[:6], scores[6:]) > 0.9


def test_a_reference_takes_out_how_hard_a_scene_is(small_view) -> None:
    """The score is the difference between what the published detector and its reference think of the scene."""
    view = small_view("conv_out")
    published = copy.deepcopy(view.white_box())
    with torch.no_grad():
        published.dense_head.conv_cls.weight.mul_(8)
    attack = Confidence(ConfidenceConfig(calibration="reference"))
    attack.prepare(replace(view, detector=published, reference=view.detector), BENCH)
    parts = []
    for detector in (published, view.white_box()):
        plain = Confidence()
        plain.prepare(replace(view, detector=detector), BENCH)
        parts.append([plain.membership_score(scene.payload) for scene in view.own_scenes()])
    found = [attack.membership_score(scene.payload) for scene in view.own_scenes()]
    assert found == pytest.approx(np.subtract(*parts).tolist())
    assert np.std(found) > 0


def test_what_it_cannot_work_with_is_refused(small_view) -> None:
    view = small_view("conv_out")
    with pytest.raises(InvalidValueError, match="prepare it"):
        Confidence().membership_score(view.payloads[0])
    with pytest.raises(InvalidValueError, match="reached for reference"):
        Confidence(ConfidenceConfig(calibration="reference")).prepare(view, BENCH)
    assert Confidence(ConfidenceConfig(calibration="reference")).required() == {Ability.WHITE_BOX, Ability.REFERENCE}
    attack = Confidence()
    attack.prepare(view, BENCH)
    with pytest.raises(PayloadError):
        attack.membership_score(view.payloads[0][:-9])
    features = codecs.decode(view.payloads[0])
    foreign = codecs.encode(replace(features, backbone_hash="0" * 64), "float16")
    with pytest.raises(BackboneMismatchError, match="load the checkpoint"):
        attack.membership_score(foreign)
