"""The decoders with which the UpCycling paper set out to restore scenes (its supplement, Tables 5, 6 and 7).

Three convolutions of constant width, then as many transposed convolutions as the backbone has stages to undo. They are
dense: at the printed size one activation of 16 channels takes 369 MB. So any window of the output can be computed on
its own: each layer then reads just the cells that the window depends on, and gives the numbers of the whole map.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from torch import Tensor, nn

from shared_models.errors import InvalidValueError, UnknownNameError
from shared_models.sparse.sites import Triple

OUT_CHANNELS: Final = 4  # means of x, y, z and intensity
CONVOLUTIONS: Final = 3
LEAK: Final = 0.2  # Dosovitskiy & Brox, CVPR 2016


@dataclass(frozen=True, slots=True, kw_only=True)
class Upsampling:
    """One row of the tables, a transposed convolution with padding 1; triples are in z, y, x order."""

    channels: int
    kernel: Triple = (3, 3, 3)
    stride: Triple = (1, 1, 1)
    output_padding: Triple = (0, 0, 0)


_TWICE: Final = (2, 2, 2)
_ODD_DEPTH: Final = (0, 1, 1)  # 11 slices become 21, but 88 cells become 176
_OUTPUT: Final = Upsampling(channels=OUT_CHANNELS)
TABLES: Final[dict[str, tuple[Upsampling, ...]]] = {
    "conv1": (_OUTPUT,),
    "conv3": (
        Upsampling(channels=32, stride=_TWICE, output_padding=_ODD_DEPTH),
        Upsampling(channels=16, stride=_TWICE, output_padding=_ODD_DEPTH),
        _OUTPUT,
    ),
    "conv_out": (
        Upsampling(channels=64, kernel=(5, 3, 3), stride=(2, 1, 1)),
        Upsampling(channels=64, kernel=(5, 3, 3), stride=_TWICE, output_padding=_ODD_DEPTH),
        Upsampling(channels=32, stride=_TWICE, output_padding=_ODD_DEPTH),
        Upsampling(channels=16, stride=_TWICE, output_padding=_ODD_DEPTH),
        _OUTPUT,
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Cells [low_y, high_y) x [low_x, high_x) of a map, over its whole depth."""

    low_y: int
    high_y: int
    low_x: int
    high_x: int

    def __post_init__(self) -> None:
        if not (0 <= self.low_y < self.high_y and 0 <= self.low_x < self.high_x):
            raise InvalidValueError(f"Window: expected 0 <= low < high on y and x, got {self}")

    @property
    def size(self) -> tuple[int, int]:
        """Cells on y and x."""
        return self.high_y - self.low_y, self.high_x - self.low_x


Read = Callable[[Window], Tensor]


class PaperDecoder(nn.Module):
    """Features of one layer to the grid of voxel means.

    With the backbone's full widths (16, 64 and 128 channels at conv1, conv3 and conv_out) it has the 22,516, 402,868
    and 1,951,476 parameters of the tables. The supplement names no activation: leaky ReLU as in its reference.
    """

    def __init__(self, layer: str, in_channels: int) -> None:
        """layer: a name in `TABLES`.

        Raises:
            UnknownNameError: the paper has no decoder from that layer.
        """
        super().__init__()
        if layer not in TABLES:
            raise UnknownNameError("layer with a decoder in the paper", layer, TABLES)
        convolutions = [nn.Conv3d(in_channels, in_channels, 3, padding=1) for _ in range(CONVOLUTIONS)]
        widths = [in_channels, *(row.channels for row in TABLES[layer])]
        upsamplings = [
            nn.ConvTranspose3d(
                width, row.channels, row.kernel, row.stride, padding=1, output_padding=row.output_padding
            )
            for width, row in zip(widths[:-1], TABLES[layer], strict=True)
        ]
        self.layers = nn.ModuleList([*convolutions, *upsamplings])

    def forward(self, maps: Tensor) -> Tensor:
        """(B, 4, D', H', W') from the whole map (B, C, D, H, W)."""
        for number, layer in enumerate(self.layers):
            maps = self._activated(number, layer(maps))
        return maps

    def decode_window(self, read: Read, map_size: tuple[int, int], window: Window) -> Tensor:
        """(B, 4, D', height, width): the part `window` of what `forward` gives for the whole map.

        read: gives a window of the input, (B, C, D, height, width). map_size: (H, W) of the whole input map.

        Raises:
            InvalidValueError: the window reaches beyond the output.
        """
        windows = self.windows_before(map_size, window)
        block = read(windows[0])
        for number, (layer, before, after) in enumerate(zip(self.layers, windows[:-1], windows[1:], strict=True)):
            stride = layer.stride[1:] if isinstance(layer, nn.ConvTranspose3d) else (1, 1)
            top, left = after.low_y - before.low_y * stride[0], after.low_x - before.low_x * stride[1]
            height, width = after.size
            block = layer(block)[..., top : top + height, left : left + width]
            block = self._activated(number, block)
        return block

    def windows_before(self, map_size: tuple[int, int], window: Window) -> list[Window]:
        """The windows that `window` of the output depends on: of the input, of each layer's output, and itself."""
        sizes = [map_size]
        for layer in self.layers:
            stride = layer.stride[1:] if isinstance(layer, nn.ConvTranspose3d) else (1, 1)
            sizes.append((sizes[-1][0] * stride[0], sizes[-1][1] * stride[1]))
        if window.high_y > sizes[-1][0] or window.high_x > sizes[-1][1]:
            raise InvalidValueError(f"PaperDecoder: expected a window inside {sizes[-1]}, got {window}")
        windows = [window]
        for layer, size in zip(reversed(self.layers), reversed(sizes[:-1]), strict=True):
            windows.append(_inputs_of(layer, windows[-1], size))
        return windows[::-1]

    def _activated(self, number: int, values: Tensor) -> Tensor:
        is_last = number == len(self.layers) - 1
        return values if is_last else nn.functional.leaky_relu(values, LEAK)


def _inputs_of(layer: nn.Module, window: Window, size: tuple[int, int]) -> Window:
    """Input cells of a layer that reach `window` of its output, on an input map of `size` (H, W).

    Input i of a transposed convolution reaches the outputs i stride - 1 + 0 .. kernel - 1; a convolution with padding 1
    and kernel 3 reads the same cells as one with stride 1.
    """
    stride = layer.stride[1] if isinstance(layer, nn.ConvTranspose3d) else 1
    assert isinstance(stride, int)
    spans = []
    for low, high, most in ((window.low_y, window.high_y, size[0]), (window.low_x, window.high_x, size[1])):
        spans.append((max(0, -((1 - low) // stride)), min(most, high // stride + 1)))
    (low_y, high_y), (low_x, high_x) = spans
    return Window(low_y=low_y, high_y=high_y, low_x=low_x, high_x=high_x)


def parameter_count(network: nn.Module) -> int:
    """Number of trained numbers."""
    return sum(parameter.numel() for parameter in network.parameters())
