"""The interface of detectors: one part runs on the vehicle, the other on the server, and `SceneFeatures` is the cut."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from shared_models.errors import BackboneMismatchError, InvalidValueError
from shared_models.records import Detections, SceneFeatures


class Detector(nn.Module, ABC):
    """A 3D object detector, cut in two. Sub-modules and parameters have OpenPCDet's names.

    name: as in `shared_models.detectors`.
    vehicle_parts: prefixes of the parameters that run before the cut; frozen once a fleet uses them.
    """

    name: ClassVar[str]
    vehicle_parts: ClassVar[tuple[str, ...]]
    split_layer: ClassVar[str] = "conv_out"

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config
        self._hash: tuple[Any, str] | None = None

    @classmethod
    def openpcdet_config(cls, config: Any) -> Any:
        """`config` with the forward pass that weights trained with OpenPCDet expect."""
        return config

    @property
    @abstractmethod
    def class_names(self) -> tuple[str, ...]:
        """Names in the order of labels."""

    @property
    @abstractmethod
    def point_fields(self) -> tuple[str, ...]:
        """Point columns that `extract` expects."""

    @abstractmethod
    def vehicle_config(self) -> dict[str, Any]:
        """The configuration of everything before the cut, ready for JSON."""

    @abstractmethod
    def extract(self, points: Tensor) -> SceneFeatures:
        """The vehicle's part on one scan.

        Args:
            points: (N, F) float32, columns `point_fields`, metres, LiDAR frame; N = 0 is valid.
        """

    @abstractmethod
    def detect_batch(self, scenes: Sequence[SceneFeatures]) -> list[Detections]:
        """The server's part on several scenes.

        Raises:
            BackboneMismatchError: a scene's features come from another backbone.
            InvalidValueError: a scene's features have other shapes than this detector's.
        """

    def detect(self, features: SceneFeatures) -> Detections:
        """The server's part on one scene."""
        return self.detect_batch([features])[0]

    def vehicle_state(self) -> dict[str, Tensor]:
        """Parameters and statistics of everything before the cut, by name."""
        state = self.state_dict()
        return {name: state[name] for name in sorted(state) if name.startswith(self.vehicle_parts)}

    @property
    def backbone_hash(self) -> str:
        """SHA-256 (hex) over configuration, names, shapes and float32 values of everything before the cut.

        Remembered only while that part is frozen (evaluation mode, no gradients): an optimiser may write to parameters
        in ways that leave no trace.
        """
        state = self.vehicle_state()
        if self._is_frozen() and self._hash is not None and self._hash[0] == _traces(state):
            return self._hash[1]
        digest = _hash_state(self.vehicle_config(), state)
        self._hash = (_traces(state), digest) if self._is_frozen() else None
        return digest

    def train(self, mode: bool = True) -> Self:
        """As in torch; training forgets the remembered hash."""
        if mode:
            self._hash = None
        return super().train(mode)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """As in torch; parameters that may change forget the remembered hash."""
        if requires_grad:
            self._hash = None
        return super().requires_grad_(requires_grad)

    def _is_frozen(self) -> bool:
        parameters = (value for name, value in self.named_parameters() if name.startswith(self.vehicle_parts))
        return not self.training and not any(parameter.requires_grad for parameter in parameters)

    def check_scenes(self, scenes: Sequence[SceneFeatures], shape: tuple[int, int, int], channels: int) -> None:
        """Every scene comes from this detector's backbone and has its map shape and channels."""
        expected = self.backbone_hash
        for number, scene in enumerate(scenes):
            if scene.backbone_hash != expected:
                raise BackboneMismatchError(
                    f"scene {number} of the batch: features of backbone {scene.backbone_hash[:12]}, "
                    f"this detector has {expected[:12]}; load the checkpoint that the vehicle used"
                )
            actual = (scene.split_layer, scene.grid.shape, scene.grid.features.shape[1])
            if actual != (self.split_layer, shape, channels):
                raise InvalidValueError(
                    f"scene {number} of the batch: expected (layer, map, channels) "
                    f"{(self.split_layer, shape, channels)}, got {actual}"
                )


def _traces(state: dict[str, Tensor]) -> tuple[Any, ...]:
    """What shows most writes to a tensor: where it lies and how often it was written to."""
    return tuple((name, v.data_ptr(), None if v.is_inference() else v._version) for name, v in state.items())


def _hash_state(config: dict[str, Any], state: dict[str, Tensor]) -> str:
    digest = hashlib.sha256(b"upcycle.backbone.v1\n")
    digest.update(json.dumps(config, sort_keys=True).encode())
    for name, value in state.items():
        if name.endswith("num_batches_tracked"):
            continue  # counts training steps; no output depends on it
        array = value.detach().to("cpu", torch.float32).contiguous().numpy()
        digest.update(f"\n{name} {list(array.shape)}\n".encode())
        digest.update(array.astype("<f4").tobytes())
    return digest.hexdigest()


def config_as_dict(*parts: Any) -> dict[str, Any]:
    """Several frozen configurations as one JSON-ready mapping from class name to fields."""
    return {type(part).__name__: asdict(part) for part in parts}
