"""Numbers worked out by hand, and what each codec promises beyond the contract."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from shared_models import codecs
from shared_models.codecs import affine, byte_planes, zero_mask
from shared_models.errors import PayloadError

MAX = torch.finfo(torch.float32).max
TINY = 2.0**-149


def through(name: str, values: torch.Tensor) -> torch.Tensor:
    codec = codecs.build(name)
    block = codec.pack(values)
    back, used = codec.unpack(memoryview(block), *values.shape)
    assert used == len(block)
    return back


def test_float32_keeps_every_bit() -> None:
    values = torch.tensor([[-0.0, 0.0, TINY], [-TINY, MAX, -MAX], [2.0**-126, 1 / 3, 2.0**-140]])
    assert torch.equal(through("float32", values).view(torch.int32), values.view(torch.int32))


def test_levels_of_a_relu_channel_start_at_zero_and_reach_the_largest() -> None:
    values = torch.tensor([[0.0], [7.5], [15.0], [0.4], [0.6]])
    levels = affine.choose_levels(values, 16)
    assert (levels.offset.item(), levels.step.item(), levels.zero.item()) == (0.0, 1.0, 0)
    assert affine.quantise(values, levels).tolist() == [[0, 8, 15, 0, 1]]  # 7.5 is halfway: to the even level


def test_a_channel_of_both_signs_has_an_exact_zero() -> None:
    values = torch.tensor([[-5.0], [10.0], [0.0]])
    levels = affine.choose_levels(values, 16)
    assert (levels.offset.item(), levels.step.item(), levels.zero.item()) == (0.0, 1.0, 5)
    assert through("int4", values).tolist() == values.tolist()


def test_a_channel_far_from_zero_uses_its_own_range() -> None:
    values = torch.tensor([[100.0], [101.5], [100.1]])
    back = through("int4", values)
    assert back[0].item() == 100.0
    assert float((back - values).abs().max()) <= 0.05 + 1e-4


def test_int4_puts_the_first_number_into_the_low_half() -> None:
    block = codecs.build("int4").pack(torch.tensor([[0.0], [15.0], [3.0], [2.0]]))
    assert block[9:] == bytes([0b1110, 0x3F, 0x02])


@pytest.mark.parametrize("name", ["float16", "int8", "int4"])
@pytest.mark.parametrize(
    "column", [[MAX, -MAX, 1.0], [MAX, MAX / 2, 0.0], [-MAX, -MAX], [TINY, 0.0], [3 * TINY, -2 * TINY], [TINY, MAX]]
)
def test_the_ends_of_float32_stay_finite_and_within_the_bound(name: str, column: list[float]) -> None:
    values = torch.tensor(column).unsqueeze(1)
    back = through(name, values)
    assert torch.isfinite(back).all()
    assert float((back.double() - values.double()).abs().max()) <= float(codecs.build(name).error_bound(values))


def test_bounds_are_tight_enough_to_mean_something() -> None:
    values = torch.rand(1000, 3, generator=torch.Generator().manual_seed(0))
    for name, most in (("float32", 0.0), ("float16", 2.0**-11), ("int8", 0.5 / 255), ("int4", 0.5 / 15)):
        assert float(codecs.build(name).error_bound(values).max()) <= most * 1.001


def test_levels_are_stored_as_distance_from_zero() -> None:
    values = torch.tensor([[-5.0], [10.0], [0.0]])
    assert affine.quantise(values, affine.choose_levels(values, 16)).tolist() == [[11, 10, 0]]  # 11 = -5 modulo 16


def test_mask_and_byte_planes_worked_out_by_hand() -> None:
    mask, present = zero_mask.split(np.array([[0, 0x1234, 0], [0xABCD, 0, 0]], np.uint16))
    assert mask == bytes([0b001010])
    assert byte_planes.pack(present, 2) == bytes([0x34, 0xCD, 0x12, 0xAB])


@pytest.mark.parametrize(
    ("name", "block", "message"),
    [
        ("float32", b"", "1 bytes of feature mask"),
        ("float32", bytes([0b1000, 1, 1]), "after the end of the feature mask"),
        ("float32", bytes([0b011, 1, 1]), "8 bytes of features expected, 2 left"),
        ("float32", bytes([0b001, 0, 0, 0, 0]), "marked as present is zero"),
        ("float32", bytes([0b001, 0, 0, 0x80, 0x7F]), "NaN or infinite"),
        ("int8", bytes(9) + bytes([0b011, 1]), "2 bytes of features expected, 1 left"),
        ("int8", bytes(9) + bytes([0b011, 1, 0]), "marked as present is zero"),
        ("int4", bytes(9) + bytes([0b001, 0x11]), "after the last feature"),
        ("int4", bytes(9) + bytes([0b111, 0x11, 0x00]), "marked as present is zero"),
        ("int4", bytes(8), "9 bytes of channel parameters"),
        ("float16", bytes(1), "2 bytes of channel exponents"),
    ],
)
def test_bad_blocks_are_refused(name: str, block: bytes, message: str) -> None:
    with pytest.raises(PayloadError, match=message):
        codecs.build(name).unpack(memoryview(block), 3, 1)


@pytest.mark.parametrize(
    ("offset", "step", "zero"),
    [(float("nan"), 1, 0), (0, float("inf"), 0), (0, -1, 0), (0, 1, 16), (1, 1, 1)],
)
def test_senseless_channel_parameters_are_refused(offset: float, step: float, zero: int) -> None:
    one = affine.Levels(
        offset=np.array([offset], np.float32),
        step=np.array([step], np.float32),
        zero=np.array([zero], np.uint8),
        count=16,
    )
    with pytest.raises(PayloadError, match="channel 0 make no sense"):
        codecs.build("int4").unpack(memoryview(one.pack() + b"\0"), 1, 1)


def test_hostile_exponents_and_exceptional_halves_are_refused() -> None:
    codec = codecs.build("float16")
    block = bytearray(codec.pack(torch.tensor([[1.0], [0.0]])))
    for at, raw, message in ((0, b"\x72\0", "-112 to 113"), (3, b"\0\x7c", "NaN or infinite")):
        damaged = bytearray(block)
        damaged[at : at + 2] = raw
        with pytest.raises(PayloadError, match=message):
            codec.unpack(memoryview(bytes(damaged)), 2, 1)
