from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from server.training.samples import Truth
from server.training.targets.rois import (
    RoiSamplingConfig,
    best_overlaps,
    draw,
    encode_in_roi,
    sample_rois,
    wanted_scores,
)
from shared_models.errors import InvalidValueError
from shared_models.geometry import box_coding
from shared_models.geometry.boxes import rotate_points
from shared_models.heads.proposals import Proposals

CONFIG = RoiSamplingConfig()
BOX = [10.0, 0.0, -1.0, 4.0, 2.0, 1.5, 0.0]


def proposals(*boxes: list[float], labels: list[int] | None = None) -> Proposals:
    table = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 7)
    kinds = torch.tensor(labels if labels is not None else [0] * len(table), dtype=torch.int64)
    return Proposals(boxes=table, logits=torch.arange(float(len(table))), labels=kinds)


def shifted(x: float) -> list[float]:
    """IoU with BOX is (4 - x) / (4 + x)."""
    return [BOX[0] + x, *BOX[1:]]


def truth_of(*boxes: list[float], labels: list[int] | None = None) -> Truth:
    table = np.array(boxes, np.float32).reshape(-1, 7)
    return Truth.exact(table, np.array(labels if labels is not None else [0] * len(table), np.int64))


def counts(ious: list[float], config: RoiSamplingConfig = CONFIG) -> tuple[int, int, int]:
    """Foreground, hard and easy background among the drawn."""
    values = np.float32(ious)
    drawn = values[draw(values, config, np.random.default_rng(0))]
    assert len(drawn) == (config.count if ious else 0)
    return int((drawn >= 0.55).sum()), int(((drawn >= 0.1) & (drawn < 0.55)).sum()), int((drawn < 0.1).sum())


@pytest.mark.parametrize(
    ("foreground", "hard", "easy", "expected"),
    [
        (100, 200, 200, (64, 51, 13)),  # half foreground; int(0.8 * 64) = 51 hard
        (10, 200, 200, (10, 94, 24)),  # few foreground: int(0.8 * 118) = 94
        (100, 20, 200, (64, 20, 44)),  # few hard ones: as many draws as there are
        (100, 200, 0, (64, 64, 0)),
        (100, 0, 200, (64, 0, 64)),
        (3, 0, 0, (128, 0, 0)),
        (0, 5, 0, (0, 128, 0)),
        (0, 0, 1, (0, 0, 128)),
        (0, 0, 0, (0, 0, 0)),
    ],
)
def test_how_many_of_each_kind(foreground: int, hard: int, easy: int, expected: tuple[int, int, int]) -> None:
    assert counts([0.8] * foreground + [0.3] * hard + [0.05] * easy) == expected


def test_borders_belong_to_the_upper_kind_and_foreground_is_not_repeated() -> None:
    assert counts([0.55, 0.1, 0.0], replace(CONFIG, count=4))[0] == 1
    values = np.linspace(0.6, 0.9, 64, dtype=np.float32)
    drawn = draw(np.append(values, np.float32(0)), CONFIG, np.random.default_rng(0))
    assert sorted(drawn[:64]) == list(range(64))
    assert set(drawn[64:]) == {64}


def test_the_generator_decides() -> None:
    values = np.random.default_rng(0).random(500).astype(np.float32)
    one, same, other = (draw(values, CONFIG, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one.tolist() == same.tolist() != other.tolist()


def test_wanted_scores_by_hand() -> None:
    ious = torch.tensor([0.0, 0.25, 0.5, 0.65, 0.75, 1.0])
    torch.testing.assert_close(wanted_scores(ious, CONFIG), torch.tensor([0.0, 0.0, 0.5, 0.8, 1.0, 1.0]))
    assert torch.equal(wanted_scores(ious, replace(CONFIG, score="iou")), ious)


def test_only_objects_of_the_own_class_count() -> None:
    found = proposals(shifted(0.0), shifted(0.0), labels=[0, 1])
    truth = truth_of(BOX, labels=[1])
    args = (found.boxes, found.labels.numpy(), truth, ~truth.is_ignored)
    for same_class, expected in ((True, ([0.0, 1.0], [-1, 0])), (False, ([1.0, 1.0], [0, 0]))):
        ious, rows = best_overlaps(*args, is_same_class=same_class)
        assert (ious.tolist(), rows.tolist()) == expected


def test_targets_of_drawn_proposals() -> None:
    # IoUs 1, 7/9, 1/3, 3/37 (3.4 m) and 0.
    found = proposals(shifted(0.0), shifted(0.5), shifted(2.0), shifted(3.4), shifted(50.0))
    rois = sample_rois(found, truth_of([50.0, *BOX[1:]], BOX), CONFIG, np.random.default_rng(0))
    kind = rois.logits.long()
    assert rois.boxes.shape == (128, 7)
    torch.testing.assert_close(rois.ious, torch.tensor([1.0, 7 / 9, 1 / 3, 0.6 / 7.4, 0.0])[kind])
    torch.testing.assert_close(rois.scores, torch.tensor([1.0, 1.0, 1 / 6, 0.0, 0.0])[kind], atol=1e-5, rtol=0)
    assert rois.rows.tolist() == torch.tensor([1, 1, 1, -1, -1])[kind].tolist()
    assert sorted(kind[rois.foreground].tolist()) == [0, 1]
    assert rois.truth_boxes.tolist() == [BOX, BOX]
    diagonal = math.sqrt(20)
    offsets = torch.where(kind[rois.foreground] == 1, -0.5 / diagonal, 0.0)
    torch.testing.assert_close(rois.codes[:, 0], offsets)


def test_proposals_on_ignored_boxes_are_not_drawn() -> None:
    found = proposals(shifted(0.0), shifted(2.0), [40.0, *BOX[1:]])
    truth = replace(truth_of(BOX), is_ignored=np.ones(1, bool))
    rois = sample_rois(found, truth, CONFIG, np.random.default_rng(0))
    assert set(rois.logits.tolist()) == {2.0}
    # What is foreground for an object is drawn all the same.
    both = sample_rois(found, truth.joined(truth_of(BOX)), CONFIG, np.random.default_rng(0))
    assert set(both.logits.tolist()) == {0.0, 1.0, 2.0}
    assert len(sample_rois(proposals(BOX), truth, CONFIG, np.random.default_rng(0)).boxes) == 0


@pytest.mark.parametrize("has_truth", [True, False])
def test_no_proposals_and_no_objects(has_truth: bool) -> None:
    truth = truth_of(BOX) if has_truth else truth_of()
    none = sample_rois(proposals(), truth, CONFIG, np.random.default_rng(0))
    assert (none.boxes.shape, none.codes.shape, none.scores.shape) == ((0, 7), (0, 7), (0,))
    some = sample_rois(proposals(shifted(30.0)), truth, CONFIG, np.random.default_rng(0))
    assert len(some.boxes) == 128
    assert not some.scores.any()
    assert some.codes.shape == (0, 7)


def test_codes_in_the_frame_of_the_proposal_lead_back_to_the_box() -> None:
    generator = torch.Generator().manual_seed(0)
    rois = torch.rand(200, 7, generator=generator, dtype=torch.float64) * 6 + 0.5
    boxes = torch.rand(200, 7, generator=generator, dtype=torch.float64) * 6 + 0.5
    codes = encode_in_roi(boxes, rois)
    assert float(codes[:, 6].abs().max()) <= math.pi / 2
    local = torch.cat((torch.zeros(200, 3), rois[:, 3:6], torch.zeros(200, 1)), 1).double()
    decoded = box_coding.decode(codes, local)
    centre = rotate_points(decoded[:, None, :3], rois[:, 6])[:, 0] + rois[:, :3]
    torch.testing.assert_close(centre, boxes[:, :3])
    torch.testing.assert_close(decoded[:, 3:6], boxes[:, 3:6])
    # The same axis: the difference of the headings is a whole number of half turns.
    torch.testing.assert_close(torch.sin(decoded[:, 6] + rois[:, 6] - boxes[:, 6]), torch.zeros(200).double())


def test_a_code_by_hand() -> None:
    # A proposal facing left, its object 1 m ahead of it, half a metre to its right, and facing the other way.
    roi = torch.tensor([[5.0, 5.0, 0.0, 4.0, 3.0, 2.0, math.pi / 2]])
    box = torch.tensor([[5.5, 6.0, 1.0, 4.0 * math.e, 3.0, 2.0, -math.pi / 2 + 0.1]])
    torch.testing.assert_close(encode_in_roi(box, roi), torch.tensor([[0.2, -0.1, 0.5, 1.0, 0.0, 0.0, 0.1]]))


@pytest.mark.parametrize(
    "values",
    [{"count": 1}, {"foreground_share": 1.5}, {"easy_iou": 0.6}, {"score": "raw"}, {"soft_iou": (0.5, 0.5)}],
)
def test_wrong_settings_are_named(values: dict) -> None:
    with pytest.raises(InvalidValueError, match=f"RoiSamplingConfig.{next(iter(values))}: expected"):
        RoiSamplingConfig(**values)
