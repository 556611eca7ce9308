from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from shared_models.errors import InvalidValueError
from shared_models.geometry.box_coding import decode, encode

ANCHOR = torch.tensor([[10.0, 20, -1, 4, 3, 2, 0.5]])  # its diagonal is 5 m
BOX = torch.tensor([[11.0, 18, -0.5, 4 * math.e, 3, 2 / math.e, 0.7]])
CODE = torch.tensor([[0.2, -0.4, 0.25, 1, 0, -1, 0.2]])


def test_example_worked_out_by_hand() -> None:
    torch.testing.assert_close(encode(BOX, ANCHOR), CODE)
    torch.testing.assert_close(decode(CODE, ANCHOR), BOX)


def test_zero_code_is_the_anchor(random_boxes) -> None:
    anchors = random_boxes(20)
    assert torch.equal(decode(torch.zeros(20, 7), anchors), anchors)


@pytest.mark.parametrize("shape", [(0, 7), (24, 7), (2, 3, 4, 7)])
def test_round_trip(shape: tuple[int, ...], random_boxes) -> None:
    count = math.prod(shape[:-1])
    boxes, anchors = (random_boxes(count, seed).double().reshape(shape) for seed in (1, 2))
    codes = encode(boxes, anchors)
    assert codes.shape == shape
    torch.testing.assert_close(decode(codes, anchors), boxes, atol=1e-12, rtol=0)
    torch.testing.assert_close(encode(decode(codes, anchors), anchors), codes, atol=1e-12, rtol=0)


def test_anchors_broadcast_over_a_batch(random_boxes) -> None:
    anchors, codes = random_boxes(5), random_boxes(15, 1).reshape(3, 5, 7) / 10
    whole = decode(codes, anchors)
    assert torch.equal(whole[1], decode(codes[1], anchors))
    assert encode(whole, anchors).shape == (3, 5, 7)


def test_flat_boxes_stay_finite() -> None:
    flat = torch.tensor([[1.0, 2, 3, 0, 0, 0, 0]])
    assert bool(encode(flat, ANCHOR).isfinite().all())
    assert bool(encode(ANCHOR, flat).isfinite().all())


def test_both_ways_are_differentiable() -> None:
    codes = CODE.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda c: decode(c, ANCHOR.double()), codes)
    boxes = BOX.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda b: encode(b, ANCHOR.double()), boxes)


@pytest.mark.data
def test_golden_targets(golden_root) -> None:
    golden = np.load(golden_root / "second_iou_kitti" / "targets.npz")
    anchors, targets = (torch.from_numpy(golden[name]) for name in ("anchors_at_positive", "box_targets"))
    truth = torch.from_numpy(golden["gt_boxes"])
    distance = (decode(targets, anchors)[:, None] - truth).abs().amax(-1)
    nearest = distance.argmin(1)
    torch.testing.assert_close(encode(truth[nearest], anchors), targets, atol=1e-6, rtol=1e-5)


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(InvalidValueError, match="encode.anchors"):
        encode(BOX, torch.zeros(1, 8))
    with pytest.raises(InvalidValueError, match="decode.codes"):
        decode(torch.zeros(1, 9), ANCHOR)
