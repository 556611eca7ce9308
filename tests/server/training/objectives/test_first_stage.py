from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from server.training.objective import TermSelection
from server.training.objectives.first_stage import LossConfig, first_stage_losses, layout_of
from server.training.samples import Truth
from server.training.targets.anchors import assign_anchors
from shared_models import detectors
from shared_models.errors import InvalidValueError
from shared_models.heads.anchor_head import AnchorPredictions

ALL = TermSelection()
CAR = [12.0, 2.0, -1.0, 3.9, 1.6, 1.56, 0.2]
PERSON = [20.0, -6.0, 0.3, 0.8, 0.6, 1.73, 1.0]


@pytest.fixture(scope="module")
def detector():
    return detectors.build("second_iou", "tiny", seed=1)


def truth_of(*boxes: list[float], labels: tuple[int, ...] = (0, 1)) -> Truth:
    return Truth.exact(np.array(boxes, np.float32).reshape(-1, 7), np.array(labels[: len(boxes)], np.int64))


def predictions(detector, count: int, seed: int = 0) -> AnchorPredictions:
    """Random answers for `count` scenes."""
    generator = torch.Generator().manual_seed(seed)
    height, width = detector.geometry.grid_shape[1:]
    maps = [torch.randn(count, height, width, channels, generator=generator) for channels in (18, 42, 12)]
    return AnchorPredictions(class_logits=maps[0] - 4, box_codes=maps[1] * 0.3, direction_logits=maps[2])


def loss_of(detector, answers: AnchorPredictions, truths, terms=None, config: LossConfig | None = None):
    terms = terms or [ALL] * len(truths)
    return first_stage_losses(detector, answers, truths, terms, config or LossConfig())


@pytest.mark.data
def test_golden_losses(golden_root: Path) -> None:
    """The reference network's answers to the golden scan cost what the reference says."""
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location("make_checkpoint", golden_root / "make_checkpoint.py")
    assert spec is not None
    assert spec.loader is not None
    maker = module_from_spec(spec)
    spec.loader.exec_module(maker)
    state = maker.state_dict("second_iou_kitti")
    state.pop("global_step")
    network = detectors.build("second_iou", "kitti", for_openpcdet=True)
    network.load_state_dict(state)
    golden = np.load(golden_root / "second_iou_kitti" / "targets.npz")
    points = torch.from_numpy(np.load(golden_root / "second_iou_kitti" / "points.npy"))
    with torch.inference_mode():
        answers = network.first_stage(network.extract_batch([points]).grid).predictions
        truth = Truth.exact(golden["gt_boxes"], golden["gt_classes"] - 1)
        found = loss_of(network, answers, [truth])
    for name, term in (("cls", found.classification), ("loc", found.box), ("dir", found.direction)):
        assert float(term) == pytest.approx(float(golden[f"loss_rpn_loss_{name}"]), rel=1e-4), name
    assert found.positive_count == len(golden["positive_index"])


def test_equals_the_sums_written_out(detector) -> None:
    truth, answers = truth_of(CAR, PERSON), predictions(detector, 1)
    found = loss_of(detector, answers, [truth])
    targets = assign_anchors(layout_of(detector), truth)
    logits = answers.class_logits.reshape(-1, 3).double().tolist()
    expected = 0.0
    for row, label in zip(logits, targets.labels.tolist(), strict=True):
        for kind, logit in enumerate(row, start=1) if label >= 0 else ():
            p = 1 / (1 + math.exp(-logit))
            expected -= 0.25 * (1 - p) ** 2 * math.log(p) if kind == label else 0.75 * p**2 * math.log(1 - p)
    count = len(targets.positive_index)
    assert float(found.classification) == pytest.approx(expected / count, rel=1e-5)
    codes = answers.box_codes.reshape(-1, 7)[targets.positive_index].double()
    error = codes - targets.box_targets
    error[:, 6] = torch.sin(error[:, 6])
    size = error.abs()
    box = torch.where(size < 1 / 9, 4.5 * size**2, size - 1 / 18).sum() / count
    assert float(found.box) == pytest.approx(2 * float(box), rel=1e-5)
    chances = torch.softmax(answers.direction_logits.reshape(-1, 2)[targets.positive_index].double(), 1)
    right = chances[range(count), targets.direction_targets]
    assert float(found.direction) == pytest.approx(-0.2 * float(right.log().mean()), rel=1e-5)
    assert found.positive_count == count > 2


def test_each_scene_is_normalised_by_itself(detector) -> None:
    answers = predictions(detector, 2)
    truths = [truth_of(CAR), truth_of(CAR, PERSON, [25.0, 8, -1, 4, 1.6, 1.5, 1.5], labels=(0, 1, 0))]
    together = loss_of(detector, answers, truths)
    for scene in range(2):
        one = AnchorPredictions(
            class_logits=answers.class_logits[scene : scene + 1],
            box_codes=answers.box_codes[scene : scene + 1],
            direction_logits=answers.direction_logits[scene : scene + 1],
        )
        alone = loss_of(detector, one, truths[scene : scene + 1])
        for name, term in together.by_name().items():
            torch.testing.assert_close(term[scene : scene + 1], alone.by_name()[name])


def test_weights(detector) -> None:
    answers, truth = predictions(detector, 1), [truth_of(CAR)]
    once = loss_of(detector, answers, truth)
    config = LossConfig(class_weight=3.0, box_weight=1.0, direction_weight=0.0)
    other = loss_of(detector, answers, truth, config=config)
    torch.testing.assert_close(other.classification, once.classification * 3)
    torch.testing.assert_close(other.box, once.box / 2)
    assert float(other.direction) == 0
    with pytest.raises(InvalidValueError, match="LossConfig.box_weight: expected 0 to"):
        LossConfig(box_weight=-1.0)


def gradients(detector, truth: Truth, terms: TermSelection, answers: AnchorPredictions | None = None):
    """Gradients of the sum of all terms: (N, 3), (N, 7), (N, 2)."""
    answers = answers or predictions(detector, 1)
    maps = [m.clone().requires_grad_() for m in (answers.class_logits, answers.box_codes, answers.direction_logits)]
    found = loss_of(
        detector, AnchorPredictions(class_logits=maps[0], box_codes=maps[1], direction_logits=maps[2]), [truth], [terms]
    )
    sum(term.sum() for term in found.by_name().values()).backward()
    return [m.grad.reshape(-1, width) for m, width in zip(maps, (3, 7, 2), strict=True)]


def hybrid() -> Truth:
    """An exact car and a pseudo pedestrian."""
    return replace(truth_of(CAR, PERSON), is_exact=np.array([True, False]))


def test_exact_matches_and_sure_background_only(detector) -> None:
    truth, answers = hybrid(), predictions(detector, 1)
    targets = assign_anchors(layout_of(detector), truth)
    terms = TermSelection(classification="exact_and_background", box="exact", direction="none", background_score=0.05)
    classes, boxes, directions = gradients(detector, truth, terms, answers)
    touched = set(classes.abs().sum(1).nonzero().flatten().tolist())
    exact = set(targets.positive_index[targets.positive_row == 0].tolist())
    pseudo = set(targets.positive_index[targets.positive_row == 1].tolist())
    assert exact <= touched
    assert not pseudo & touched
    sure = set((torch.sigmoid(answers.class_logits.reshape(-1, 3)).amax(1) < 0.05).nonzero().flatten().tolist())
    assert touched - exact <= sure
    assert 0 < len(touched - exact) < len(sure)  # anchors around the pseudo box are left out
    assert set(boxes.abs().sum(1).nonzero().flatten().tolist()) == exact
    assert not directions.any()


def test_anchors_that_touch_a_pseudo_box_are_no_sure_background(detector) -> None:
    answers = predictions(detector, 1)
    low = replace(answers, class_logits=torch.full_like(answers.class_logits, -8.0))
    terms = TermSelection(classification="exact_and_background")
    nothing = truth_of()
    classes, *_ = gradients(detector, nothing, terms, low)
    assert bool((classes != 0).all())
    pseudo = replace(truth_of(PERSON, labels=(1,)), is_exact=np.array([False]))
    classes, *_ = gradients(detector, pseudo, terms, low)
    left_out = (classes == 0).all(1).nonzero().flatten()
    anchors = layout_of(detector).anchors[left_out]
    assert len(left_out) > 0
    assert float((anchors[:, :2] - torch.tensor(PERSON[:2])).norm(dim=1).max()) < 3.0
    assert len(set(anchors[:, 3].tolist())) == 3  # of every class


def test_none_is_zero_with_a_zero_gradient(detector) -> None:
    terms = TermSelection(classification="none", box="none", direction="none")
    for gradient in gradients(detector, hybrid(), terms):
        assert not gradient.any()


@pytest.mark.parametrize("truth", [truth_of(), replace(truth_of(CAR), is_ignored=np.ones(1, bool))])
def test_scenes_without_objects(detector, truth: Truth) -> None:
    found = loss_of(detector, predictions(detector, 1), [truth])
    assert float(found.classification) > 0
    assert float(found.box) == float(found.direction) == 0
    classes, boxes, _ = gradients(detector, truth, ALL)
    assert bool(torch.isfinite(classes).all())
    assert classes.any()
    assert not boxes.any()


def test_sums_stay_long_in_mixed_precision(detector) -> None:
    answers = predictions(detector, 1)
    short = AnchorPredictions(
        class_logits=answers.class_logits.bfloat16(),
        box_codes=answers.box_codes.bfloat16(),
        direction_logits=answers.direction_logits.bfloat16(),
    )
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = loss_of(detector, short, [truth_of(CAR, PERSON)])
    exact = loss_of(detector, answers, [truth_of(CAR, PERSON)])
    for name, term in found.by_name().items():
        assert term.dtype == torch.float32
        torch.testing.assert_close(term, exact.by_name()[name], rtol=0.02, atol=0)
