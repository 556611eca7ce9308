"""Payloads as the grid features that a learned attack was prepared for, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from shared_models import codecs
from shared_models.errors import BackboneMismatchError, InvalidValueError
from shared_models.records import GridFeatures, SceneFeatures
from shared_models.sparse.sites import Triple


@dataclass(frozen=True, slots=True, kw_only=True)
class PayloadReader:
    """What all payloads of one attack have in common.

    split_layer, backbone_hash: as in `SceneFeatures`. shape: (D, H, W) of the map. channels: features per cell.
    """

    split_layer: str
    backbone_hash: str
    shape: Triple
    channels: int

    @classmethod
    def of(cls, payload: bytes) -> Self:
        """A reader of payloads like this one.

        Raises:
            SenderError: the payload is damaged.
        """
        features = codecs.decode(payload)
        return cls(
            split_layer=features.split_layer,
            backbone_hash=features.backbone_hash,
            shape=features.grid.shape,
            channels=features.grid.features.shape[1],
        )

    @classmethod
    def for_layer(cls, payloads: Iterable[bytes], split_layer: str, attack: str) -> Self:
        """A reader of payloads like the first of `payloads`, which must be of `split_layer`.

        Raises:
            InvalidValueError: there are none, or they are of another layer.
        """
        first = next(iter(payloads), None)
        if first is None:
            raise InvalidValueError(f"attack {attack!r}: expected scenes of the attacker's own, got none")
        reader = cls.of(first)
        if reader.split_layer != split_layer:
            raise InvalidValueError(
                f"attack {attack!r}: the view's geometry is of {split_layer}, the payloads are of {reader.split_layer}"
            )
        return reader

    def read(self, payload: bytes) -> GridFeatures:
        """The grid features in a payload.

        Raises:
            SenderError: it is damaged, or of another layer or backbone.
        """
        features = codecs.decode(payload)
        self._check(features)
        return features.grid

    def _check(self, features: SceneFeatures) -> None:
        grid = features.grid
        expected = (self.split_layer, self.backbone_hash, self.shape, self.channels)
        got = (features.split_layer, features.backbone_hash, grid.shape, grid.features.shape[1])
        if got != expected:
            layer, backbone, shape, channels = got
            raise BackboneMismatchError(
                f"payload: the attack was prepared for {self.split_layer} of backbone {self.backbone_hash[:12]} with a "
                f"map {self.shape} of {self.channels} channels, this one holds {layer} of backbone {backbone[:12]} "
                f"with a map {shape} of {channels}; prepare the attack on payloads of the same backbone"
            )
