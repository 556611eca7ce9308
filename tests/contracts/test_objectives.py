"""What the objective of every detector must do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from server.training import objectives
from server.training.objective import TermSelection
from server.training.samples import Truth
from server.training.targets.rois import RoiSamplingConfig
from shared_models import detectors
from shared_models.backbones.bev import BevConfig
from shared_models.backbones.voxelizer import VoxelConfig
from shared_models.errors import InvalidValueError, UnknownNameError
from shared_models.heads.proposals import ProposalConfig

SCENE_TERMS = {
    "classification": ("dense_head.conv_cls", "backbone_2d", "backbone_3d"),
    "box": ("dense_head.conv_box", "backbone_2d", "backbone_3d"),
    "direction": ("dense_head.conv_dir_cls", "backbone_2d", "backbone_3d"),
}
# Which parameters each term teaches.
TEACHES = {
    "second_iou": SCENE_TERMS | {"roi_iou": ("roi_head",)},
    "pv_rcnn": SCENE_TERMS
    | {
        "points": ("point_head", "pfe.SA_", "backbone_3d"),
        "roi_iou": ("roi_head.", "point_head", "pfe", "backbone_3d"),
        "roi_box": ("roi_head.", "point_head", "pfe", "backbone_3d"),
        "roi_corner": ("roi_head.", "point_head", "pfe", "backbone_3d"),
    },
}
NOT_BY = {
    "roi_iou": ("roi_head.reg_layers",),
    "roi_box": ("roi_head.cls_layers",),
    "roi_corner": ("roi_head.cls_layers",),
}
CARS = np.float32([[12, 2, -1, 3.9, 1.6, 1.56, 0.2], [20, -6, -1, 4.2, 1.7, 1.5, 1.4]])
TRUTH = Truth.exact(CARS, np.zeros(2, np.int64))
NOTHING = Truth.exact(np.zeros((0, 7), np.float32), np.zeros(0, np.int64))


def make(name: str):
    """A detector in training mode with a map of 24 x 32 cells, narrow layers and few keypoints."""
    config = replace(
        detectors.default_config(name, "tiny"),
        voxels=VoxelConfig(point_range_m=(0.0, -9.6, -3.0, 25.6, 9.6, 1.0), voxel_size_m=(0.1, 0.1, 0.1)),
        bev=BevConfig(layer_counts=(1, 1), channels=(16, 32), upsample_channels=(32, 32)),
    )
    if name == "pv_rcnn":
        points = replace(config.points, keypoint_count=64)
        config = replace(config, points=points, roi=replace(config.roi, grid_size=3))
    torch.manual_seed(0)
    return detectors.build_from_config(name, config).train()


def make_objective(name: str):
    settings = objectives.create(name).config
    return objectives.create(
        name,
        replace(
            settings,
            proposals=ProposalConfig(pre_max=500, post_max=100, iou_threshold=0.8),
            rois=RoiSamplingConfig(count=16, foreground_iou=0.2),
        ),
    )


def scan(count: int = 600, seed: int = 0) -> torch.Tensor:
    """Ground and the cars' volumes, filled at random."""
    generator = np.random.default_rng(seed)
    ground = generator.uniform([1, -9, -1.75, 0], [25, 9, -1.65, 1], (count // 2, 4))
    objects = [generator.uniform(-0.5, 0.5, (count // 4, 4)) * [*box[3:6], 1] + [*box[:3], 0.5] for box in CARS]
    return torch.from_numpy(np.concatenate((ground, *objects)).astype(np.float32))[:count]


@pytest.fixture(scope="module", params=list(objectives.OBJECTIVES))
def name(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def detector(name: str):
    return make(name)


def run(detector, scans, truths, terms=None, seed: int = 0):
    """Losses of a batch, with all gradients set back."""
    detector.zero_grad(set_to_none=True)
    batch = detector.extract_batch(scans)
    return make_objective(detector.name).loss(detector, batch, truths, rngs(len(truths), seed), terms)


def rngs(count: int, seed: int = 0) -> list[np.random.Generator]:
    """One generator for each scene."""
    return [np.random.default_rng((seed, place)) for place in range(count)]


def taught(detector) -> set[str]:
    """Parameters with a gradient that is not zero; every gradient is finite."""
    found = {n: p.grad for n, p in detector.named_parameters() if p.grad is not None}
    assert all(bool(torch.isfinite(gradient).all()) for gradient in found.values())
    return {n for n, gradient in found.items() if gradient.any()}


def test_every_detector_has_an_objective_of_its_name() -> None:
    assert set(objectives.OBJECTIVES) == set(detectors.DETECTORS)
    assert all(objectives.create(name).name == name for name in objectives.OBJECTIVES)
    with pytest.raises(UnknownNameError, match="pv_rcnn, second_iou"):
        objectives.create("third")


def test_one_backward_pass_teaches_every_parameter(detector) -> None:
    losses = run(detector, [scan(), scan(seed=1)], [TRUTH, TRUTH])
    assert set(losses.terms) == set(TEACHES[detector.name])
    assert losses.counts["foreground_rois"] > 0
    losses.total.backward()
    missing = {n for n, p in detector.named_parameters() if p.grad is None}
    assert missing == set()
    # A ReLU can be closed for a whole channel; layers as a whole must learn.
    layers = {n.rpartition(".")[0] for n in taught(detector)}
    assert layers == {n.rpartition(".")[0] for n, _ in detector.named_parameters()}


def test_each_term_teaches_what_it_should_and_nothing_else(detector) -> None:
    losses = run(detector, [scan(), scan(seed=1)], [TRUTH, TRUTH])
    for term, prefixes in TEACHES[detector.name].items():
        detector.zero_grad(set_to_none=True)
        losses.terms[term].backward(retain_graph=True)
        found = taught(detector)
        assert all(n.startswith(prefixes) for n in found), (term, found)
        assert not [n for n in found if n.startswith(NOT_BY.get(term, ("-",)))], term
        for prefix in prefixes:
            assert any(n.startswith(prefix) for n in found), (term, prefix)


def test_total_is_the_sum_of_the_terms_means(detector) -> None:
    with torch.no_grad():
        losses = run(detector, [scan(), scan(seed=1), scan(seed=2)], [TRUTH, NOTHING, TRUTH])
    expected = sum(float(losses.per_scene[n].sum()) / 3 for n in losses.per_scene)
    assert float(losses.total) == pytest.approx(expected, rel=1e-5)
    some = float(losses.total_of([0, 2]) * 2 + losses.total_of(slice(1, 2))) / 3
    assert some == pytest.approx(expected, rel=1e-5)
    assert all(term.shape == (3,) and term.dtype == torch.float32 for term in losses.per_scene.values())


@pytest.mark.parametrize(
    ("scans", "truths"),
    [
        ((600, 600), (NOTHING, NOTHING)),
        ((600, 0), (TRUTH, TRUTH)),
        ((0, 0), (TRUTH, NOTHING)),
        ((0,), (NOTHING,)),
        ((1,), (TRUTH,)),
    ],
)
def test_no_labels_and_no_points_are_harmless(name: str, scans, truths) -> None:
    detector = make(name)
    losses = run(detector, [scan()[:count] for count in scans], list(truths))
    assert all(bool(torch.isfinite(term).all()) for term in losses.per_scene.values())
    losses.total.backward()
    assert any(n.startswith("dense_head") for n in taught(detector))
    assert all(bool(torch.isfinite(value).all()) for value in detector.state_dict().values())


def test_classes_without_objects(name: str) -> None:
    """Only pedestrians are labelled; the other classes learn that nothing is theirs."""
    detector = make(name)
    person = Truth.exact(np.float32([[12, 2, -1, 0.8, 0.6, 1.7, 0.2]]), np.ones(1, np.int64))
    losses = run(detector, [scan()], [person])
    losses.total.backward()
    assert bool(torch.isfinite(losses.total))
    assert bool((detector.dense_head.conv_cls.bias.grad.reshape(-1, 3) != 0).all())


def test_terms_left_out_of_a_scene_are_zero_there_and_the_others_stay(detector) -> None:
    everything = TermSelection()
    none = TermSelection(
        classification="none", box="none", direction="none", roi_iou="none", roi_box="none", points="none"
    )
    with torch.no_grad():
        scans = [scan(), scan(seed=1)]
        detector.eval()  # else batch norm's statistics would move between the two
        full = run(detector, scans, [TRUTH, TRUTH], [everything, everything])
        half = run(detector, scans, [TRUTH, TRUTH], [everything, none])
        detector.train()
    for term, losses in half.per_scene.items():
        assert float(losses[1]) == 0, term
        torch.testing.assert_close(losses[0], full.per_scene[term][0])


def test_the_generator_decides_which_proposals_are_drawn(detector) -> None:
    with torch.no_grad():
        detector.eval()
        scans = [scan()]
        one, same, other = (run(detector, scans, [TRUTH], seed=seed).per_scene["roi_iou"] for seed in (0, 0, 1))
        detector.train()
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_what_a_scene_draws_does_not_depend_on_the_others_of_its_batch(detector) -> None:
    """So any share of a batch in another process draws what it would have drawn here."""
    with torch.no_grad():
        detector.eval()
        batch = [scan(), scan(seed=1)]
        both = run(detector, batch, [TRUTH, TRUTH]).per_scene
        second = detector.extract_batch(batch[1:])
        alone = make_objective(detector.name).loss(detector, second, [TRUTH], rngs(2)[1:]).per_scene
        detector.train()
    for term, losses in alone.items():
        torch.testing.assert_close(losses[0], both[term][1], msg=term)


def test_a_frozen_vehicle_part_stays_as_it_is(name: str) -> None:
    """Features from a store: no gradient reaches them, and the rest learns."""
    detector = make(name).eval()
    with torch.no_grad():
        stored = detector.extract_batch([scan(), scan(seed=1)])
    before = {n: value.clone() for n, value in detector.vehicle_state().items()}
    detector.train()
    losses = make_objective(name).loss(detector, stored, [TRUTH, TRUTH], rngs(2))
    losses.total.backward()
    assert not [n for n in taught(detector) if n.startswith(detector.vehicle_parts)]
    assert all(torch.equal(value, before[n]) for n, value in detector.vehicle_state().items())


def test_wrong_batches_are_refused(detector) -> None:
    objective = make_objective(detector.name)
    other = next(n for n in objectives.OBJECTIVES if n != detector.name)
    with torch.no_grad():
        batch = detector.extract_batch([scan(50)])
    with pytest.raises(InvalidValueError, match="1 scenes, 2 truths, 2 generators, 1 selections"):
        objective.loss(detector, batch, [TRUTH, TRUTH], rngs(2))
    with pytest.raises(InvalidValueError, match="1 scenes, 1 truths, 1 generators, 0 selections"):
        objective.loss(detector, batch, [TRUTH], rngs(1), [])
    with pytest.raises(InvalidValueError, match="1 scenes, 1 truths, 2 generators, 1 selections"):
        objective.loss(detector, batch, [TRUTH], rngs(2))
    with pytest.raises(InvalidValueError, match="expected its detector, got a"):
        make_objective(other).loss(detector, batch, [TRUTH], rngs(1))
    if batch.keypoints is not None:
        with pytest.raises(InvalidValueError, match="expected keypoints for every scene"):
            objective.loss(detector, replace(batch, keypoints=None), [TRUTH], rngs(1))


def test_mixed_precision_keeps_losses_long(name: str) -> None:
    detector = make(name)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = run(detector, [scan(), scan(seed=1)], [TRUTH, NOTHING])
        total = losses.total
    assert total.dtype == torch.float32
    assert all(term.dtype == torch.float32 for term in losses.per_scene.values())
    total.backward()
    layers = {n.rpartition(".")[0] for n in taught(detector)}
    assert {n for n, _ in detector.named_modules() if n.startswith("dense_head.conv")} <= layers
