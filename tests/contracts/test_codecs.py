"""What every codec in the table must do, whatever its name."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from shared_models import codecs
from shared_models.codec import DecodeLimits
from shared_models.errors import InvalidValueError, PayloadError, PayloadTooLargeError, UnknownNameError
from shared_models.records import GridFeatures, SceneFeatures, SetFeatures

SHAPE = (2, 5, 7)
NAMES = sorted(codecs.CODECS)
each_codec = pytest.mark.parametrize("name", NAMES)
finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
tables = arrays.arrays("float32", st.tuples(st.integers(0, 12), st.integers(0, 5)), elements=finite)
relu_tables = tables.map(lambda a: a.clip(min=0))


def scene(values: torch.Tensor, keypoints: SetFeatures | None = None, seed: int = 0) -> SceneFeatures:
    """A scene whose grid features are `values`, on random cells."""
    generator = torch.Generator().manual_seed(seed)
    keys = torch.randperm(70, generator=generator)[: len(values)].sort().values
    coords = torch.stack([keys // 35, keys // 7 % 5, keys % 7], 1).int()
    grid = GridFeatures(coords=coords, features=values, shape=SHAPE)
    return SceneFeatures(grid=grid, keypoints=keypoints, split_layer="conv_out", backbone_hash="0f" * 32)


def bits(values: torch.Tensor) -> torch.Tensor:
    return values.contiguous().view(torch.int32)


@each_codec
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(table=st.one_of(tables, relu_tables))
def test_decoded_numbers_stay_within_the_documented_bound(name: str, table) -> None:
    values = torch.from_numpy(table)
    back = codecs.decode(codecs.encode(scene(values), name)).grid.features
    assert back.shape == values.shape
    assert back.dtype == torch.float32
    assert torch.isfinite(back).all()
    bound = codecs.build(name).error_bound(values)
    assert bound.dtype == torch.float64
    assert ((back.double() - values.double()).abs() <= bound).all()


@each_codec
@settings(max_examples=60, deadline=None)
@given(table=relu_tables)
def test_exact_zeros_stay_exact_zeros(name: str, table) -> None:
    values = torch.from_numpy(table)
    back = codecs.decode(codecs.encode(scene(values), name)).grid.features
    assert (back[values == 0] == 0).all()


@each_codec
def test_everything_beside_the_numbers_comes_back_unchanged(name: str) -> None:
    generator = torch.Generator().manual_seed(1)
    points = SetFeatures(
        positions=torch.randn(9, 3, generator=generator) * 30, features=torch.rand(9, 6, generator=generator)
    )
    features = scene(torch.rand(20, 4, generator=generator), points)
    back = codecs.decode(codecs.encode(features, name))
    assert torch.equal(back.grid.coords, features.grid.coords)
    assert back.grid.shape == SHAPE
    assert back.split_layer == features.split_layer
    assert back.backbone_hash == features.backbone_hash
    assert back.keypoints is not None
    assert torch.equal(bits(back.keypoints.positions), bits(points.positions))
    error = (back.keypoints.features - points.features).abs().amax(0).double()
    assert (error <= codecs.build(name).error_bound(points.features)).all()


@each_codec
@pytest.mark.parametrize(("cells", "channels"), [(0, 0), (0, 3), (4, 0), (1, 1), (3, 1), (1, 3)])
@pytest.mark.parametrize("keypoints", [None, 0, 1])
def test_empty_and_odd_sizes_are_valid(name: str, cells: int, channels: int, keypoints: int | None) -> None:
    points = None
    if keypoints is not None:
        points = SetFeatures(positions=torch.ones(keypoints, 3), features=torch.ones(keypoints, channels))
    features = scene(torch.ones(cells, channels), points)
    back = codecs.decode(codecs.encode(features, name))
    assert torch.equal(back.grid.features, features.grid.features)
    assert (back.keypoints is None) == (points is None)
    if points is not None and back.keypoints is not None:
        assert torch.equal(back.keypoints.features, points.features)


@each_codec
def test_the_same_features_give_the_same_bytes(name: str) -> None:
    values = torch.rand(30, 7, generator=torch.Generator().manual_seed(2))
    strided = torch.empty(7, 30).t().copy_(values)
    assert codecs.encode(scene(values), name) == codecs.encode(scene(strided), name)


@each_codec
def test_packing_leaves_the_features_as_they_were(name: str) -> None:
    values = torch.randn(30, 7, generator=torch.Generator().manual_seed(3))
    before = values.clone()
    codecs.encode(scene(values), name)
    assert torch.equal(values, before)


@each_codec
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_non_finite_features_and_positions_are_not_encoded(name: str, bad: float) -> None:
    values = torch.zeros(3, 2)
    values[1, 1] = bad
    points = SetFeatures(positions=torch.full((1, 3), bad), features=torch.zeros(1, 2))
    for features in (scene(values), scene(torch.zeros(3, 2), points)):
        with pytest.raises(InvalidValueError, match="finite"):
            codecs.encode(features, name)


@each_codec
def test_the_header_tells_what_is_inside_without_decoding(name: str) -> None:
    points = SetFeatures(positions=torch.zeros(2, 3), features=torch.zeros(2, 6))
    payload = codecs.encode(scene(torch.ones(20, 4), points), name)
    header = codecs.read_header(payload)
    assert (header.codec, header.format_version) == (name, 1)
    assert (header.grid_shape, header.cells, header.channels) == (SHAPE, 20, 4)
    assert (header.keypoints, header.keypoint_channels) == (2, 6)
    assert (header.split_layer, header.backbone_hash) == ("conv_out", "0f" * 32)
    assert header.header_bytes + header.frame_bytes == len(payload)
    broken = payload[: header.header_bytes] + bytes(header.frame_bytes)
    assert codecs.read_header(broken) == header
    with pytest.raises(PayloadError, match="zstd"):
        codecs.decode(broken)


@each_codec
def test_every_limit_holds(name: str) -> None:
    payload = codecs.encode(scene(torch.ones(20, 4)), name)
    for limits in (
        DecodeLimits(max_payload_bytes=len(payload) - 1),
        DecodeLimits(max_decoded_bytes=20 * 4 * 4 - 1),
        DecodeLimits(max_rows=19),
        DecodeLimits(max_channels=3),
        DecodeLimits(max_map_cells=69),
    ):
        with pytest.raises(PayloadTooLargeError):
            codecs.decode(payload, limits)


@each_codec
def test_packed_tables_never_pass_the_declared_size(name: str) -> None:
    codec = codecs.build(name)
    generator = torch.Generator().manual_seed(4)
    for rows, channels in ((0, 3), (1, 1), (5, 3), (300, 200)):
        values = torch.randn(rows, channels, generator=generator)
        assert len(codec.pack(values)) <= codec.largest_block_bytes(rows, channels)


def test_an_unknown_codec_lists_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match=", ".join(NAMES)):
        codecs.build("gzip")
