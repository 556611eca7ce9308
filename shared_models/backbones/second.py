"""The sparse 3D backbone of SECOND (Yan et al., Sensors 2018) as OpenPCDet's VoxelBackBone8x builds it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from shared_models.records import check
from shared_models.sparse.engine import SparseEngine
from shared_models.sparse.layers import SparseBlock
from shared_models.sparse.sites import ConvolutionSpec, Triple
from shared_models.sparse.tensor import SparseFeatures

SUBMANIFOLD = ConvolutionSpec(is_submanifold=True)
HALVE = ConvolutionSpec(stride=(2, 2, 2))
# The third down-sampling has no padding in z: 11 slices become 5.
HALVE_UNPADDED_Z = ConvolutionSpec(stride=(2, 2, 2), padding=(0, 1, 1))
DOWNSAMPLING = (HALVE, HALVE, HALVE_UNPADDED_Z)
MERGE_SLICES = ConvolutionSpec(kernel=(3, 1, 1), stride=(2, 1, 1), padding=(0, 0, 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class BackboneConfig:
    """Widths of the 3D backbone.

    stage_channels: channels of conv1 to conv4.
    out_channels: channels of conv_out, the layer that a vehicle shares.
    """

    stage_channels: tuple[int, int, int, int] = (16, 32, 64, 64)
    out_channels: int = 128

    def __post_init__(self) -> None:
        check.count("BackboneConfig", "stage_channels", self.stage_channels, check.MAX_WIDTH)
        check.count("BackboneConfig", "out_channels", self.out_channels, check.MAX_WIDTH)


@dataclass(frozen=True, slots=True, kw_only=True)
class BackboneStages:
    """Outputs of all stages: at 1, 2, 4 and 8 times the voxel size, and conv_out (8 times, fewer slices)."""

    conv1: SparseFeatures
    conv2: SparseFeatures
    conv3: SparseFeatures
    conv4: SparseFeatures
    conv_out: SparseFeatures


class SecondBackbone(nn.Module):
    """Voxels to sparse feature maps; parameter names as in OpenPCDet's `backbone_3d`."""

    split_layer = "conv_out"

    def __init__(self, in_channels: int, config: BackboneConfig, engine: SparseEngine) -> None:
        super().__init__()
        self.engine = engine
        c1, c2, c3, c4 = config.stage_channels
        self.conv_input = SparseBlock(in_channels, c1, SUBMANIFOLD)
        self.conv1 = nn.ModuleList([SparseBlock(c1, c1, SUBMANIFOLD)])
        self.conv2 = _stage(c1, c2, HALVE)
        self.conv3 = _stage(c2, c3, HALVE)
        self.conv4 = _stage(c3, c4, HALVE_UNPADDED_Z)
        self.conv_out = SparseBlock(c4, config.out_channels, MERGE_SLICES)

    def forward(self, voxels: SparseFeatures) -> BackboneStages:
        """All stages of a batch of voxelised scans; gradients reach the voxel features."""
        conv1 = self._run([self.conv_input, *self.conv1], voxels)
        conv2 = self._run(self.conv2, conv1)
        conv3 = self._run(self.conv3, conv2)
        conv4 = self._run(self.conv4, conv3)
        conv_out = self._run([self.conv_out], conv4)
        return BackboneStages(conv1=conv1, conv2=conv2, conv3=conv3, conv4=conv4, conv_out=conv_out)

    def _run(self, blocks: nn.ModuleList | list[SparseBlock], stage: SparseFeatures) -> SparseFeatures:
        """Blocks in order; submanifold blocks over the same sites share one plan."""
        sites, features, plan = stage.sites, stage.features, None
        for block in blocks:
            assert isinstance(block, SparseBlock)
            if plan is None or plan.spec != block.spec:
                plan = self.engine.plan(sites, block.spec)
            features = block(features, plan, self.engine)
            sites = plan.outputs
        return SparseFeatures(sites=sites, features=features)


def _stage(in_channels: int, channels: int, down: ConvolutionSpec) -> nn.ModuleList:
    return nn.ModuleList(
        [
            SparseBlock(in_channels, channels, down),
            SparseBlock(channels, channels, SUBMANIFOLD),
            SparseBlock(channels, channels, SUBMANIFOLD),
        ]
    )


def output_shape(sparse_shape: Triple) -> Triple:
    """(D, H, W) of conv_out for voxel maps of `sparse_shape`."""
    shape = sparse_shape
    for spec in (*DOWNSAMPLING, MERGE_SLICES):
        shape = spec.output_shape(shape)
    return shape
