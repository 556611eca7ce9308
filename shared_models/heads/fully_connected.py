"""Fully connected layers of the second stage, as 1x1 convolutions over a length of one (OpenPCDet's layout)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor, nn


def fully_connected(
    in_channels: int, widths: Sequence[int], dropout: float, out_channels: int | None = None
) -> nn.Sequential:
    """Conv1d, batch norm, ReLU per width with dropout after the first; a biased output layer if wanted.

    Children are numbered as in OpenPCDet: 0 and 4 are convolutions, 1 and 5 batch norms, 7 the output layer.
    """
    layers: list[nn.Module] = []
    for number, width in enumerate(widths):
        layers += [nn.Conv1d(in_channels, width, 1, bias=False), nn.BatchNorm1d(width), nn.ReLU()]
        if number == 0:
            layers.append(nn.Dropout(dropout))
        in_channels = width
    if out_channels is not None:
        layers.append(nn.Conv1d(in_channels, out_channels, 1))
    return nn.Sequential(*layers)


def on_rows(layers: Iterable[nn.Module], rows: Tensor) -> Tensor:
    """Fully connected layers on (R, C): on CPUs the gradients of a convolution take five times those of a product."""
    for layer in layers:
        if isinstance(layer, nn.Conv1d):
            rows = nn.functional.linear(rows, layer.weight[:, :, 0], layer.bias)
        else:
            rows = layer(rows)
    return rows
