from __future__ import annotations

import numpy as np
import pytest
import torch

from server.training.objectives.second_iou import SecondIouLossConfig, SecondIouObjective
from server.training.samples import Truth
from server.training.targets.rois import RoiSamplingConfig, sample_rois
from shared_models import detectors
from shared_models.configuration import from_dict, to_dict
from shared_models.detectors.batch_input import BatchInput
from shared_models.errors import InvalidValueError
from shared_models.heads.proposals import ProposalConfig
from shared_models.records import GridFeatures
from shared_models.sparse.tensor import collate

TRUTH = Truth.exact(np.float32([[12, 2, -1, 3.9, 1.6, 1.56, 0.2]]), np.zeros(1, np.int64))


def test_the_iou_term_is_the_cross_entropy_of_the_drawn_proposals() -> None:
    """Computed again from the network's parts, with the same draw."""
    detector = detectors.build("second_iou", "tiny", seed=1)
    generator = torch.Generator().manual_seed(0)
    cells = torch.cartesian_prod(torch.arange(2), torch.arange(20, 35), torch.arange(5, 30)).int()
    grid = GridFeatures(coords=cells, features=torch.rand(len(cells), 64, generator=generator), shape=(2, 50, 44))
    batch = BatchInput(grid=collate([grid]))
    config = SecondIouLossConfig(
        proposals=ProposalConfig(pre_max=300, post_max=100, iou_threshold=0.8),
        rois=RoiSamplingConfig(count=32, foreground_iou=0.2, soft_iou=(0.0, 0.5)),
        iou_weight=0.5,
    )
    with torch.no_grad():
        found = SecondIouObjective(config).loss(detector, batch, [TRUTH], [np.random.default_rng(3)])
        first = detector.first_stage(batch.grid)
        (proposals,) = detector.propose(first, config.proposals)
        rois = sample_rois(proposals, TRUTH, config.rois, np.random.default_rng(3))
        (logits,) = detector.roi_head(first.bev, [rois.boxes])
        expected = torch.nn.functional.binary_cross_entropy(torch.sigmoid(logits), rois.scores) / 2
    assert rois.scores.any()
    assert len(proposals.boxes) > 10
    torch.testing.assert_close(found.per_scene["roi_iou"], expected[None])


def test_settings_are_part_of_a_run_file_and_checked() -> None:
    config = SecondIouLossConfig(iou_weight=2.0)
    assert from_dict(SecondIouLossConfig, to_dict(config)) == config
    with pytest.raises(InvalidValueError, match="SecondIouLossConfig.iou_weight: expected 0 to"):
        SecondIouLossConfig(iou_weight=-1.0)
