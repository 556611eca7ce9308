"""Anchor assignment against the golden targets and against the dense rule, written out."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from server.training.samples import Truth
from server.training.targets.anchors import (
    AnchorLayout,
    anchor_layout,
    assign_anchors,
    direction_bins,
    touched_anchors,
)
from shared_models.errors import InvalidValueError
from shared_models.geometry import box_coding
from shared_models.geometry.iou import iou_axis_aligned_nearest
from shared_models.heads.anchor_head import AnchorHeadConfig

RANGE = (0.0, -10.0, -3.0, 20.0, 10.0, 1.0)
KINDS = AnchorHeadConfig().classes


@pytest.fixture(scope="module")
def layout() -> AnchorLayout:
    return anchor_layout(KINDS, RANGE, (26, 26))


def random_truth(seed: int, count: int = 12) -> Truth:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 3, count)
    sizes = np.array([kind.size_m for kind in KINDS])[labels] * generator.uniform(0.7, 1.3, (count, 3))
    # Beyond the map on all sides, so that some objects reach no anchor; some exactly at 45 degrees.
    places = generator.uniform([-3, -13, -2], [23, 13, 0], (count, 3))
    yaws = np.where(generator.random(count) < 0.3, math.pi / 4, generator.uniform(-7, 7, count))
    boxes = np.concatenate((places, sizes, yaws[:, None]), 1).astype(np.float32)
    flags = generator.random((2, count)) < 0.3
    return Truth(boxes=boxes, labels=labels.astype(np.int64), is_ignored=flags[0], is_exact=flags[1])


def dense_rule(layout: AnchorLayout, truth: Truth) -> tuple[list[int], list[int]]:
    """Labels and truth rows of all anchors, every overlap computed, one anchor after the other."""
    overlap = iou_axis_aligned_nearest(layout.anchors, torch.from_numpy(truth.boxes)).tolist()
    kinds = [label for label, kind in enumerate(layout.classes) for _ in kind.yaws_rad]
    own = [kinds[number % len(kinds)] for number in range(len(layout.anchors))]
    best_of = {}
    for row in range(len(truth)):
        column = [overlap[n][row] for n in range(len(own)) if own[n] == truth.labels[row]]
        best_of[row] = max(column)
    labels, rows = [], []
    for number, label in enumerate(own):
        kind = layout.classes[label]
        real = [r for r in range(len(truth)) if truth.labels[r] == label and not truth.is_ignored[r]]
        unsure = [r for r in range(len(truth)) if truth.labels[r] == label and truth.is_ignored[r]]
        best = max((overlap[number][r] for r in real), default=0.0)
        first = next((r for r in real if overlap[number][r] == best), -1)
        is_forced = any(overlap[number][r] == best_of[r] > 0 for r in real)
        if real and (is_forced or best >= kind.matched_iou):
            labels.append(label + 1)
            rows.append(first)
            continue
        is_near = best >= kind.unmatched_iou or any(overlap[number][r] >= kind.unmatched_iou for r in unsure)
        labels.append(-1 if is_near else 0)
        rows.append(-1)
    return labels, rows


@pytest.mark.data
def test_golden_targets(golden_root: Path) -> None:
    golden = np.load(golden_root / "second_iou_kitti" / "targets.npz")
    kitti = anchor_layout(KINDS, (0.0, -40.0, -3.0, 70.4, 40.0, 1.0), (200, 176))
    found = assign_anchors(kitti, Truth.exact(golden["gt_boxes"], golden["gt_classes"] - 1))
    assert len(found.labels) == golden["num_anchors"]
    assert found.positive_index.tolist() == golden["positive_index"].tolist()
    assert found.labels[found.positive_index].tolist() == golden["positive_class"].tolist()
    assert (found.labels == -1).nonzero().flatten().tolist() == golden["ignored_index"].tolist()
    np.testing.assert_allclose(found.box_targets, golden["box_targets"], atol=1e-5, rtol=0)
    np.testing.assert_allclose(kitti.anchors[found.positive_index], golden["anchors_at_positive"], atol=1e-5, rtol=0)


@pytest.mark.parametrize("seed", range(6))
def test_equals_the_dense_rule(layout: AnchorLayout, seed: int) -> None:
    truth = random_truth(seed)
    found = assign_anchors(layout, truth)
    labels, rows = dense_rule(layout, truth)
    assert found.labels.tolist() == labels
    assert found.positive_index.tolist() == [n for n, label in enumerate(labels) if label > 0]
    assert found.positive_row.tolist() == [rows[n] for n in found.positive_index.tolist()]
    assert {-1, 0} < set(labels)


@pytest.mark.parametrize("seed", range(3))
def test_windows_hold_all_overlapping_anchors_and_not_the_whole_map(layout: AnchorLayout, seed: int) -> None:
    boxes = random_truth(seed, 4).boxes
    overlap = iou_axis_aligned_nearest(layout.anchors, torch.from_numpy(boxes)).amax(1) > 0
    for label in range(3):
        own = layout.of_class(label)
        near = layout.near(label, boxes)
        assert set(own[overlap[own].numpy()].tolist()) <= set(near.tolist()) < set(own.tolist())
    assert torch.equal(touched_anchors(layout, boxes), overlap)


def test_box_and_direction_targets_lead_back_to_the_truth(layout: AnchorLayout) -> None:
    truth = random_truth(1)
    found = assign_anchors(layout, truth)
    boxes = box_coding.decode(found.box_targets, layout.anchors[found.positive_index])
    wanted = torch.from_numpy(truth.boxes)[found.positive_row]
    torch.testing.assert_close(boxes, wanted, atol=1e-4, rtol=1e-5)
    assert found.direction_targets.tolist() == [
        int(((yaw - 0.78539) % (2 * math.pi)) // math.pi) for yaw in wanted[:, 6].tolist()
    ]


def test_direction_bins_by_hand() -> None:
    degrees = torch.tensor([0.0, 44.9, 45.1, 90, 180, 224.9, 225.1, 270, 359, -100])
    bins = direction_bins(torch.deg2rad(degrees), 0.78539)
    assert bins.tolist() == [1, 1, 0, 0, 0, 0, 1, 1, 1, 1]


def test_a_car_on_an_anchor_by_hand(layout: AnchorLayout) -> None:
    """Cells are 0.8 m apart; a car exactly on a cell: neighbours along it overlap (3.9 - 0.8) / (3.9 + 0.8) = 0.66."""
    box = np.array([[8.0, 2.0, -1.0, 3.9, 1.6, 1.56, 0.0]], np.float32)
    found = assign_anchors(layout, Truth.exact(box, np.zeros(1, np.int64)))
    places = layout.anchors[found.positive_index]
    torch.testing.assert_close(places[:, :2], torch.tensor([[7.2, 2.0], [8.0, 2.0], [8.8, 2.0]]))
    assert places[:, 6].tolist() == [0.0, 0.0, 0.0]
    # Across, and two cells along: 0.8 / 2.4 = 0.33 and 2.3 / 5.5 = 0.42, both below 0.45: nothing is ignored.
    assert int((found.labels == -1).sum()) == 0


def test_an_ignored_box_makes_its_anchors_ignored(layout: AnchorLayout) -> None:
    box = np.array([[8.0, 2.0, -1.0, 3.9, 1.6, 1.56, 0.0]], np.float32)
    exact = Truth.exact(box, np.zeros(1, np.int64))
    sure, unsure = assign_anchors(layout, exact), assign_anchors(layout, replace(exact, is_ignored=np.ones(1, bool)))
    assert len(unsure.positive_index) == 0
    assert (unsure.labels == -1).nonzero().flatten().tolist() == sure.positive_index.tolist()
    both = assign_anchors(layout, replace(exact, is_ignored=np.ones(1, bool)).joined(exact))
    assert torch.equal(both.labels, sure.labels)
    assert both.positive_row.tolist() == [1, 1, 1]


def test_no_objects_and_objects_out_of_reach(layout: AnchorLayout) -> None:
    none = assign_anchors(layout, Truth.exact(np.zeros((0, 7), np.float32), np.zeros(0, np.int64)))
    away = assign_anchors(layout, Truth.exact(np.float32([[90, 0, 0, 4, 2, 1, 0]]), np.zeros(1, np.int64)))
    for found in (none, away):
        assert not found.labels.any()
        assert found.box_targets.shape == (0, 7)
        assert found.direction_targets.shape == (0,)
    assert not touched_anchors(layout, np.zeros((0, 7), np.float32)).any()


def test_a_threshold_of_zero_leaves_no_negative() -> None:
    kinds = (replace(KINDS[0], matched_iou=0.5, unmatched_iou=0.0),)
    layout = anchor_layout(kinds, RANGE, (10, 10))
    found = assign_anchors(layout, Truth.exact(np.float32([[8, 2, -1, 3.9, 1.6, 1.5, 0]]), np.zeros(1, np.int64)))
    assert int((found.labels == 0).sum()) == 0
    assert len(found.positive_index) > 0


def test_an_unknown_label_is_refused(layout: AnchorLayout) -> None:
    truth = Truth.exact(np.float32([[8, 2, -1, 3.9, 1.6, 1.5, 0]]), np.array([3]))
    with pytest.raises(InvalidValueError, match=r"expected labels of 0 to 2, got \[3\]"):
        assign_anchors(layout, truth)
