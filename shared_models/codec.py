"""Interface of the codecs: how a table of numbers becomes bytes, and what a payload says about itself.

`shared_models.codecs` has the table of codecs and the functions `encode`, `decode` and `read_header`.
The byte layout is written down in docs/payload-format.md.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from shared_models.errors import InvalidValueError
from shared_models.records.features import NO_GUARD


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeLimits:
    """What a decoder accepts at most; all of it is checked before memory is taken.

    max_payload_bytes: length of the payload as received.
    max_decoded_bytes: memory of the decoded float32 features, and of the decompressed body.
    max_rows: active cells, and also keypoints, of one scene.
    max_channels: features per cell or keypoint.
    max_map_cells: D * H * W of the map (KITTI's finest layer has 92 million).
    """

    max_payload_bytes: int = 64 * 2**20
    max_decoded_bytes: int = 256 * 2**20
    max_rows: int = 1_000_000
    max_channels: int = 4096
    max_map_cells: int = 2**28

    def __post_init__(self) -> None:
        for field in ("max_payload_bytes", "max_decoded_bytes", "max_rows", "max_channels", "max_map_cells"):
            if getattr(self, field) < 1:
                raise InvalidValueError(f"DecodeLimits.{field}: expected at least 1, got {getattr(self, field)}")


DEFAULT_LIMITS = DecodeLimits()


@dataclass(frozen=True, slots=True, kw_only=True)
class PayloadHeader:
    """What a payload declares, read without decompressing anything.

    codec: name of the codec, not yet looked up in the table.
    split_layer, backbone_hash: as in `SceneFeatures`.
    grid_shape: (D, H, W) size of the map in cells.
    cells, channels: V and C of the grid features.
    keypoints, keypoint_channels: K and C of the set features; None and 0 where there are none.
    coordinate_bytes: 1, 2 or 4 bytes for each step between cells.
    header_bytes, frame_bytes: the payload is this header followed by one zstd frame.
    body_bytes: length of the frame's content.
    guard: what the vehicle did to the features, as `SceneFeatures.guard`; "" nothing.
    """

    format_version: int
    codec: str
    split_layer: str
    backbone_hash: str
    grid_shape: tuple[int, int, int]
    cells: int
    channels: int
    keypoints: int | None
    keypoint_channels: int
    coordinate_bytes: int
    header_bytes: int
    frame_bytes: int
    body_bytes: int
    guard: str = ""

    @property
    def guard_or_none(self) -> str:
        """`guard` as policies and the catalogue write it: "none", which is a guard's name, where there is none."""
        return self.guard or NO_GUARD


class Codec(ABC):
    """Packs a table of finite float32 numbers into bytes and back, each channel (column) on its own.

    The same table always gives the same bytes. A codec never sees coordinates, headers or compression.
    """

    name: ClassVar[str]

    @abstractmethod
    def pack(self, values: Tensor) -> bytes:
        """Bytes of `values`, (N, C) float32 on the CPU.

        Raises:
            InvalidValueError: a value is NaN or infinite.
        """

    @abstractmethod
    def unpack(self, block: memoryview, rows: int, channels: int) -> tuple[Tensor, int]:
        """The (rows, channels) float32 table at the start of `block`, and the number of bytes it took.

        Raises:
            PayloadError: `block` is too short or not what `pack` writes.
        """

    @abstractmethod
    def largest_block_bytes(self, rows: int, channels: int) -> int:
        """The most bytes that `pack` writes for a table of this size."""

    @abstractmethod
    def error_bound(self, values: Tensor) -> Tensor:
        """(C,) float64: no decoded number of a channel differs from `values` (N, C) by more than this."""
