"""Two layers on every pair of a centre and a near point, and the highest of each centre, a few thousand rows at a time.

With 27,648 RoI grid points per scan the rows of a training step fill gigabytes, and touching that memory takes longer
than the arithmetic. So rows live as long as the cache holds them, and are made once more for the gradients.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from shared_models.sets.moments import Moments
from shared_models.sets.neighbourhoods import Neighbourhoods, Tile

# With fewer than 28 rows, the last bits of a float32 product depend on the number of threads (MKL 2025, AVX-512).
FEWEST_ROWS = 64


def product(rows: Tensor, weight: Tensor) -> Tensor:
    """(n, W) `rows @ weight.T` from (n, C) and (W, C), with the same bits for any number of threads."""
    missing = FEWEST_ROWS - len(rows)
    if missing <= 0:
        return rows @ weight.t()
    return (torch.nn.functional.pad(rows, (0, 0, 0, missing)) @ weight.t())[: len(rows)]


def pool(
    projected: Tensor, offsets: Tensor, direction: Tensor, weight: Tensor, near: Neighbourhoods, short: torch.dtype
) -> tuple[Tensor, Moments]:
    """The highest of `weight @ relu(projected + direction @ offset)` over each neighbourhood, and its moments.

    Args:
        projected: (N, C) of each point. offsets: (R, 3) of each pair, metres.
        direction: (C, 3). weight: (W, C).
        short: the type in which full tiles are multiplied by `weight`. For others it does not pay: on CPUs bfloat16
            kernels are built for each number of rows, and full tiles have few such numbers.
    Returns:
        (K, W), 0 for centres without neighbours. Moments count each pair as often as the ball query has it.
    """
    pooled, sums, squares = _Pool.apply(projected, offsets, direction, weight, near, short)  # type: ignore[no-untyped-call]
    count = float(near.width * (len(near.is_empty) - int(near.is_empty.sum())))
    return pooled, Moments(sums=sums, squares=squares, count=count)


class _Pool(torch.autograd.Function):
    """Gradients by hand: those of the maximum go to all equal rows in equal parts, as torch's `amax` has it."""

    @staticmethod
    def forward(
        ctx: Any, projected: Tensor, offsets: Tensor, direction: Tensor, weight: Tensor, near: Neighbourhoods,
        short: torch.dtype,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        ctx.save_for_backward(projected, offsets, direction, weight)
        ctx.near, ctx.short = near, short
        pooled = projected.new_zeros((len(near.is_empty), len(weight)))
        total = _Total(len(weight), projected.device)
        for tile, _, raised in _layers(projected, offsets, direction, weight, near, short):
            pooled.index_copy_(0, tile.centres, raised.amax(0))
            total.add(raised, tile.repeats)
        return pooled, total.sums, total.squares()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        with torch.autocast(grads[0].device.type, enabled=False):
            return (*_gradients(ctx, *grads), None, None)


def _gradients(ctx: Any, d_pooled: Tensor, d_sums: Tensor, d_squares: Tensor) -> tuple[Tensor | None, ...]:
    projected, offsets, direction, weight = ctx.saved_tensors
    d_projected, d_direction, d_weight = (torch.zeros_like(part) for part in (projected, direction, weight))
    d_offsets = torch.empty_like(offsets) if ctx.needs_input_grad[1] else None
    slope = (2 * d_squares).to(weight.dtype)
    for tile, hidden, raised in _layers(projected, offsets, direction, weight, ctx.near, ctx.short):
        d_raised = _to_highest(raised, d_pooled.index_select(0, tile.centres), tile.repeats)
        d_raised.addcmul_(raised, slope).add_(d_sums.to(weight.dtype))
        d_raised[0] *= 1 + tile.repeats
        rows = d_raised.flatten(0, 1)
        d_weight += _product(rows.t(), hidden.t(), tile, ctx.short)
        d_hidden = _product(rows, weight.t(), tile, ctx.short).mul_(hidden.sign_())
        d_direction += d_hidden.t() @ offsets[tile.rows]
        d_projected.index_add_(0, ctx.near.points[tile.rows], d_hidden)
        if d_offsets is not None:
            torch.mm(d_hidden, direction, out=d_offsets[tile.rows])
    return d_projected, d_offsets, d_direction, d_weight


def _layers(
    projected: Tensor, offsets: Tensor, direction: Tensor, weight: Tensor, near: Neighbourhoods, short: torch.dtype
) -> Iterator[tuple[Tile, Tensor, Tensor]]:
    """Each tile with its rows (n k, C) between the layers and (n, k, W) after them."""
    for tile in near.tiles:
        hidden = projected.index_select(0, near.points[tile.rows])
        hidden.add_(product(offsets[tile.rows], direction)).relu_()
        yield tile, hidden, _product(hidden, weight, tile, short).view(tile.size, -1, len(weight))


def _product(rows: Tensor, weight: Tensor, tile: Tile, short: torch.dtype) -> Tensor:
    if not tile.is_full:
        return product(rows, weight)
    return product(rows.to(short), weight.to(short)).to(rows.dtype)


def _to_highest(raised: Tensor, d_highest: Tensor, repeats: int) -> Tensor:
    """(n, k, W): the gradient (k, W) of the maximum at one of each pair's repetitions."""
    is_highest = torch.eq(raised, raised.amax(0), out=torch.empty_like(raised))
    ties = is_highest.sum(0).add_(is_highest[0], alpha=repeats)
    return is_highest.mul_(d_highest.div_(ties))


class _Total:
    """Sums in float64, of squares about the first rows' mean: else float32 would lose a small variance."""

    def __init__(self, width: int, device: torch.device) -> None:
        self.sums, self._squares = (torch.zeros(width, dtype=torch.float64, device=device) for _ in range(2))
        self._about: Tensor | None = None
        self._count = 0

    def add(self, raised: Tensor, repeats: int) -> None:
        """Rows (n, k, W), the first of each neighbourhood `repeats` times more."""
        if self._about is None:
            self._about = raised.mean((0, 1))
        self.sums += raised.sum((0, 1)) + repeats * raised[0].sum(0)
        squares = (raised - self._about).square_()
        self._squares += squares.sum((0, 1)) + repeats * squares[0].sum(0)
        self._count += raised.shape[1] * (raised.shape[0] + repeats)

    def squares(self) -> Tensor:
        """About zero."""
        if self._about is None:
            return self._squares
        about = self._about.double()
        return self._squares + about * (2 * self.sums - self._count * about)
