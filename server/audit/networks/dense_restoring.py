"""The paper's decoder at work: its loss over a window, and points from the grid that it regresses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import torch
from torch import Tensor, nn

from server.audit.networks.dense_blocks import dense_block, rows_inside, tiles, voxel_centres_m, window_around
from server.audit.networks.own_scenes import OwnScene, voxel_config
from server.audit.networks.paper_decoder import LEAK, PaperDecoder, Window
from shared_models.backbones.cut_geometry import CutGeometry
from shared_models.records import GridFeatures

Positions = Literal["voxel", "metres"]

METRES: Final = 10.0  # the unit of positions in metres: intensity is 0 to 1, positions reach 80 m
FIRST_GUESS: Final = 0.01  # of the spread that He et al. draw weights with, in the last layer
LEAST: Final = 0.01  # a prediction that is less sure is no voxel at any threshold
STEADY: Final = 0.5  # in units of 10 m: nearer voxels need a longer prediction, noise is as long as their centres


@dataclass(frozen=True, slots=True, kw_only=True)
class DenseGuess:
    """Voxels that may be occupied. points: (M, 4) float32 [x y z intensity], metres.

    lengths: (M,) float32 length of the prediction along that of the voxel's centre, over the latter.
    sureness: (M,) float32 likewise; where positions are in metres, less near the sensor.
    cells: (M, 3) int64 [z y x].
    """

    points: Tensor
    sureness: Tensor
    lengths: Tensor
    cells: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class DenseRestorer:
    """geometry: of the uploaded layer. network: the decoder. scale: what features are divided by.

    positions: what is regressed of an occupied voxel's mean point. "metres": where it lies from the sensor, in units of
        10 m. "voxel": where it lies from a corner one voxel away from the voxel's centre, in voxels: 0.5 to 1.5 on
        each axis.
    """

    geometry: CutGeometry
    network: PaperDecoder
    scale: float
    positions: Positions = "voxel"

    def loss(self, scene: OwnScene, side: int, generator: torch.Generator, occupied_weight: float = 1.0) -> Tensor:
        """Mean squared error over a window of `side` x `side` voxels around a random occupied one, over its depth.

        occupied_weight: what the squares of an occupied voxel are multiplied by.
        """
        coords = scene.voxels.sites.coords[:, 1:]
        shape = scene.voxels.sites.shape
        if len(coords) == 0:
            return torch.zeros(())
        _, y, x = coords[int(torch.randint(len(coords), (1,), generator=generator))].tolist()
        window = window_around(y, x, side, shape[1:])
        found = self._decoded(scene.grid, window)
        target = dense_block(coords, self._targets(coords, scene.voxels.features), shape[0], window)
        mark = dense_block(coords, coords.new_ones((len(coords), 1), dtype=torch.float32), shape[0], window)
        weights = 1 + (occupied_weight - 1) * mark
        return ((found - target.to(found.device)).square() * weights.to(found.device)).mean()

    @torch.no_grad()
    def restore(self, grid: GridFeatures, side: int, most: int) -> DenseGuess:
        """The `most` likeliest voxels of a scene, computed in parts of `side` x `side` voxels."""
        _, height, width = voxel_config(self.geometry).sparse_shape
        parts = [self._part(grid, window) for window in tiles((height, width), side)]
        points, sureness, lengths, cells = (torch.cat(group) for group in zip(*parts, strict=True))
        order = torch.sort(sureness, descending=True, stable=True).indices[:most]
        return DenseGuess(points=points[order], sureness=sureness[order], lengths=lengths[order], cells=cells[order])

    def _part(self, grid: GridFeatures, window: Window) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        before = self.network.windows_before(grid.shape[1:], window)[0]
        if len(rows_inside(grid.coords, before)) == 0:
            return torch.zeros((0, 4)), torch.zeros(0), torch.zeros(0), torch.zeros((0, 3), dtype=torch.int64)
        values = self._decoded(grid, window)[0].permute(1, 2, 3, 0)
        depth, height, width = values.shape[:3]
        axes = (torch.arange(size) for size in (depth, height, width))
        corner = torch.tensor((0, window.low_y, window.low_x))
        cells = torch.cartesian_prod(*axes) + corner
        centres = voxel_centres_m(cells, self.geometry.point_range_m, self.geometry.voxel_size_m)
        values, usual = values.reshape(-1, 4).cpu(), self._usual(centres)
        along, squares = (values[:, :3] * usual).sum(1), usual.square().sum(1)
        sureness = along / (squares + (STEADY**2 if self.positions == "metres" else 0.0))
        rows = (sureness > LEAST).nonzero().squeeze(1)
        lengths = along[rows] / squares[rows]
        return self._points(values[rows], lengths, centres[rows]), sureness[rows], lengths, cells[rows]

    def _points(self, values: Tensor, lengths: Tensor, centres: Tensor) -> Tensor:
        """Predictions without their shrinkage towards zero, positions no further out than their voxel."""
        values = values / lengths[:, None]
        shifts = (values[:, :3] - self._usual(centres)) * self._unit_m()
        half = 0.5 * torch.tensor(self.geometry.voxel_size_m)
        places = centres + torch.maximum(torch.minimum(shifts, half), -half)
        return torch.cat((places, values[:, 3:].clamp(0, 1)), 1)

    def _targets(self, coords: Tensor, means: Tensor) -> Tensor:
        """(V, 4) what is regressed at occupied voxels (V, 3) [z y x] with means (V, 4) [x y z intensity], metres."""
        centres = voxel_centres_m(coords, self.geometry.point_range_m, self.geometry.voxel_size_m)
        places = self._usual(centres) + (means[:, :3] - centres) / self._unit_m()
        return torch.cat((places, means[:, 3:]), 1)

    def _usual(self, centres: Tensor) -> Tensor:
        """(V, 3) what would be regressed of points in the middle of voxels with these centres (V, 3), metres."""
        return centres / METRES if self.positions == "metres" else torch.ones_like(centres)

    def _unit_m(self) -> Tensor:
        """(3,) metres."""
        return torch.tensor((METRES,) * 3 if self.positions == "metres" else self.geometry.voxel_size_m)

    def _decoded(self, grid: GridFeatures, window: Window) -> Tensor:
        device = next(self.network.parameters()).device

        def read(part: Window) -> Tensor:
            return dense_block(grid.coords, grid.features / self.scale, grid.shape[0], part).to(device)

        return self.network.decode_window(read, grid.shape[1:], window)


def initialise(network: PaperDecoder, seed: int) -> None:
    """Draw weights under which signals neither fade nor grow, as He et al., ICCV 2015, for leaky ReLU; biases are 0.

    Those of the last layer are a hundredth of that: nearly all of the target is zero, and so is what training begins
    with. Drawn in full, they take half of a short training to come down.
    """
    generator = torch.Generator().manual_seed(seed)
    for number, layer in enumerate(network.layers):
        assert isinstance(layer, nn.Conv3d | nn.ConvTranspose3d)
        # How many products meet in one output: a transposed convolution's stride thins them out.
        stride = layer.stride if isinstance(layer, nn.ConvTranspose3d) else (1, 1, 1)
        met = float(layer.in_channels)
        for kernel, step in zip(layer.kernel_size, stride, strict=True):
            met *= kernel / step
        gain = FIRST_GUESS**2 if number == len(network.layers) - 1 else 2 / (1 + LEAK**2)
        with torch.no_grad():
            layer.weight.normal_(0, (gain / met) ** 0.5, generator=generator)
            assert layer.bias is not None
            layer.bias.zero_()
