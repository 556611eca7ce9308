from __future__ import annotations

from pathlib import Path

import pytest
import torch

from server.training.preparation import make_detector
from server.training.run_config import DetectorSource
from shared_models import checkpoints
from shared_models.errors import CheckpointError, ConfigError, UnknownNameError
from tests.small_runs import TABLE

SOURCE = DetectorSource(**TABLE["detector"])


def test_the_seed_draws_the_weights_and_nothing_else(tmp_path: Path) -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    one, same, other = (make_detector(SOURCE, seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(value, same[name]) for name, value in one.items())
    assert not all(torch.equal(value, other[name]) for name, value in one.items())


def test_single_fields_of_a_setting_may_differ() -> None:
    config = make_detector(SOURCE, 0).config
    assert config.bev.channels == (16, 16)
    assert config.bev.strides == (1, 2)
    assert config.voxels.point_range_m == (0, -6.4, -3, 12.8, 6.4, 1)
    assert config.voxels.voxel_size_m == (0.1, 0.1, 0.1)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"bev": {"width": 3}}, r"detector.override.bev.width: unknown key; known here: layer_counts"),
        ({"neck": {}}, r"detector.override.neck: unknown key; known here: voxels, backbone"),
        ({"roi": {"dropout": "much"}}, r"detector.override.roi.dropout: expected finite float"),
    ],
)
def test_mistakes_in_the_override_name_the_key(override, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_detector(DetectorSource(override=override), 0)


def test_a_checkpoint_brings_weights_and_configuration(tmp_path: Path) -> None:
    first = make_detector(SOURCE, 3)
    checkpoints.save(first, tmp_path / "c", is_trained=True)
    again = make_detector(DetectorSource(checkpoint=str(tmp_path / "c")), 9)
    assert again.config == first.config
    assert all(torch.equal(value, first.state_dict()[name]) for name, value in again.state_dict().items())
    assert all(parameter.requires_grad for parameter in again.parameters())
    with pytest.raises(ConfigError, match="the checkpoint brings its own configuration"):
        make_detector(DetectorSource(checkpoint=str(tmp_path / "c"), override={"bev": {}}), 0)
    with pytest.raises(ConfigError, match="is a second_iou, the run file names pv_rcnn"):
        make_detector(DetectorSource(name="pv_rcnn", checkpoint=str(tmp_path / "c")), 0)
    with pytest.raises(CheckpointError):
        make_detector(DetectorSource(checkpoint=str(tmp_path / "absent")), 0)


def test_unknown_names() -> None:
    with pytest.raises(UnknownNameError, match="unknown setting 'huge'; known: kitti, small, tiny, waymo"):
        make_detector(DetectorSource(setting="huge"), 0)
    with pytest.raises(UnknownNameError, match="known: .*rulebook"):
        make_detector(DetectorSource(engine="fast"), 0)
