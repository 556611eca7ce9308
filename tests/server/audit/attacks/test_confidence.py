"""Membership from confidence, against the formula worked out apart from it."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from server.audit.attack import Workbench
from server.audit.attacks.confidence import Confidence, ConfidenceConfig
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
