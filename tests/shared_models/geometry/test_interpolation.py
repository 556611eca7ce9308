from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from shared_models.errors import InvalidValueError
from shared_models.geometry.interpolation import interpolate_bev


def _slow(features: Tensor, xy: Tensor) -> Tensor:
    """Corner by corner, with cells and weights clamped to the map."""
    _, height, width = features.shape
    rows = []
    for x, y in xy.tolist():
        x0, x1 = (min(max(math.floor(x) + k, 0), width - 1) for k in (0, 1))
        y0, y1 = (min(max(math.floor(y) + k, 0), height - 1) for k in (0, 1))
        near = features[:, y0, x0] * (x1 - x) * (y1 - y) + features[:, y1, x0] * (x1 - x) * (y - y0)
        rows.append(near + features[:, y0, x1] * (x - x0) * (y1 - y) + features[:, y1, x1] * (x - x0) * (y - y0))
    return torch.stack(rows)


@pytest.fixture
def features() -> Tensor:
    return torch.rand((5, 6, 9), generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_example_worked_out_by_hand() -> None:
    features = torch.tensor([[[0.0, 1], [10, 11]]])
    xy = torch.tensor([[0.0, 0], [0.5, 0], [0, 0.5], [0.25, 0.75]])
    assert interpolate_bev(features, xy).tolist() == [[0], [0.5], [5], [7.75]]


@pytest.mark.parametrize("channels_last", [False, True])
def test_equals_the_slow_version(channels_last: bool, features: Tensor) -> None:
    if channels_last:
        features = features.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    xy = torch.rand((200, 2), generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 14 - 3  # also outside
    torch.testing.assert_close(interpolate_bev(features, xy), _slow(features, xy))


def test_last_column_and_row_give_zero_as_upstream(features: Tensor) -> None:
    xy = torch.tensor([[8.0, 2], [3, 5]], dtype=torch.float64)
    assert interpolate_bev(features, xy).abs().max() == 0


def test_differentiable_in_the_features(features: Tensor) -> None:
    xy = torch.tensor([[1.3, 2.6], [1.3, 2.6], [7.5, 0.2]], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda f: interpolate_bev(f, xy), features.requires_grad_())


def test_no_positions(features: Tensor) -> None:
    assert interpolate_bev(features, torch.zeros(0, 2, dtype=torch.float64)).shape == (0, 5)


def test_wrong_input_is_refused(features: Tensor) -> None:
    with pytest.raises(InvalidValueError, match=r"got \(5, 6\)"):
        interpolate_bev(features[..., 0], torch.zeros(1, 2))
    with pytest.raises(InvalidValueError, match=r"and \(1, 3\)"):
        interpolate_bev(features, torch.zeros(1, 3))
    with pytest.raises(InvalidValueError, match="expected cells"):
        interpolate_bev(torch.zeros(4, 0, 3), torch.zeros(1, 2))
