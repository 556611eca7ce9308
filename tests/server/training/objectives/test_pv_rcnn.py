"""PV-RCNN's second-stage and keypoint terms against sums written out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from server.training.objective import TermSelection
from server.training.objectives.pv_rcnn import PvRcnnLossConfig, PvRcnnObjective
from server.training.samples import Truth
from server.training.targets.rois import RoiSamplingConfig, RoiTargets, sample_rois
from shared_models.errors import InvalidValueError
from shared_models.heads.proposals import Proposals
from shared_models.heads.roi_grid_head import Refinement, _decode
from shared_models.records import SetFeatures

BOXES = torch.tensor([[10.0, 0, -1, 4, 2, 1.5, 0.4], [20.0, 5, -1, 4, 2, 1.5, 2.0]])
TRUTH = Truth(
    boxes=BOXES.numpy(), labels=np.zeros(2, np.int64), is_ignored=np.zeros(2, bool), is_exact=np.array([True, False])
)
ALL, CONFIG = TermSelection(), PvRcnnLossConfig()


def drawn() -> RoiTargets:
    near = BOXES.repeat_interleave(3, 0) + torch.tensor([0.1, 0.2, 0.05, 0.1, 0.1, 0.1, 0.1]) * torch.randn(
        6, 7, generator=torch.Generator().manual_seed(0)
    )
    away = BOXES + torch.tensor([0.0, 20, 0, 0, 0, 0, 0])
    table = torch.cat((near, away))
    found = Proposals(boxes=table, logits=torch.full((8,), -5.0), labels=torch.zeros(8, dtype=torch.int64))
    return sample_rois(found, TRUTH, RoiSamplingConfig(count=16), np.random.default_rng(0))


def answer(rois: RoiTargets) -> Refinement:
    generator = torch.Generator().manual_seed(1)
    codes = torch.randn(16, 7, generator=generator) * 0.1
    return Refinement(logits=torch.randn(16, generator=generator), codes=codes, boxes=_decode(codes, rois.boxes))


def terms_of(selection: TermSelection, config: PvRcnnLossConfig = CONFIG) -> dict[str, float]:
    rois = drawn()
    found = PvRcnnObjective(config)._roi_terms([answer(rois)], [rois], [TRUTH], [selection])
    return {name: float(term[0]) for name, term in found.items()}


def test_the_second_stage_written_out() -> None:
    rois, found = drawn(), answer(drawn())
    assert len(rois.foreground) == 6
    entropy = torch.nn.functional.binary_cross_entropy(torch.sigmoid(found.logits), rois.scores)
    error = (found.codes[rois.foreground] - rois.codes).abs()
    box = torch.where(error < 1 / 9, 4.5 * error**2, error - 1 / 18).sum() / 6
    terms = terms_of(ALL)
    assert terms["roi_iou"] == pytest.approx(float(entropy), rel=1e-5)
    assert terms["roi_box"] == pytest.approx(float(box), rel=1e-5)
    assert 0 < terms["roi_corner"] < 1
    doubled = terms_of(ALL, PvRcnnLossConfig(iou_weight=2, roi_box_weight=3, corner_weight=4))
    for name, factor in (("roi_iou", 2), ("roi_box", 3), ("roi_corner", 4)):
        assert doubled[name] == pytest.approx(factor * terms[name], rel=1e-5)


def test_right_codes_cost_nothing() -> None:
    rois = drawn()
    codes = torch.zeros(16, 7)
    codes[rois.foreground] = rois.codes
    right = Refinement(logits=torch.zeros(16), codes=codes, boxes=_decode(codes, rois.boxes))
    found = PvRcnnObjective(CONFIG)._roi_terms([right], [rois], [TRUTH], [ALL])
    assert float(found["roi_box"][0]) == pytest.approx(0, abs=1e-9)
    assert float(found["roi_corner"][0]) == pytest.approx(0, abs=1e-9)


def test_only_exact_matches() -> None:
    rois, found = drawn(), answer(drawn())
    exact = rois.rows[rois.foreground] == 0
    error = (found.codes[rois.foreground[exact]] - rois.codes[exact]).abs()
    box = torch.where(error < 1 / 9, 4.5 * error**2, error - 1 / 18).sum() / 3
    counted = rois.rows != 1
    entropy = torch.nn.functional.binary_cross_entropy(torch.sigmoid(found.logits[counted]), rois.scores[counted])
    terms = terms_of(TermSelection(roi_iou="exact_and_background", roi_box="exact"))
    assert terms["roi_box"] == pytest.approx(float(box), rel=1e-5)
    assert terms["roi_iou"] == pytest.approx(float(entropy), rel=1e-5)
    assert terms_of(TermSelection(roi_iou="none", roi_box="none")) == {"roi_iou": 0, "roi_box": 0, "roi_corner": 0}


def test_keypoints_by_hand() -> None:
    # On the exact car, on the pseudo car, in the ring, and away; all with probability 1/2.
    turned = torch.tensor([2.05 * np.cos(0.4), 2.05 * np.sin(0.4), 0.0], dtype=torch.float32)
    positions = torch.stack((BOXES[0, :3], BOXES[1, :3], BOXES[0, :3] + turned, torch.zeros(3)))
    keypoints = SetFeatures(positions=positions, features=torch.zeros(4, 2))
    objective = PvRcnnObjective(CONFIG)
    half = 0.25 * float(np.log(2))
    for terms, expected in (
        (ALL, (2 * 0.25 + 0.75) * half / 2),
        (TermSelection(points="exact_and_background"), 0.25 * half / 2),  # probability 1/2 is no sure background
        (TermSelection(points="none"), 0.0),
    ):
        losses, count = objective._point_terms([keypoints], [torch.zeros(4)], [TRUTH], [terms])
        assert losses.tolist() == pytest.approx([expected])
        assert count == 2


@pytest.mark.parametrize("values", [{"corner_weight": -1.0}, {"point_ring_m": -0.1}, {"roi_box_beta": 0.0}])
def test_wrong_settings_are_named(values: dict) -> None:
    with pytest.raises(InvalidValueError, match=f"PvRcnnLossConfig.{next(iter(values))}: expected"):
        replace(PvRcnnLossConfig(), **values)
