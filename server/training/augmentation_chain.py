"""Several augmentations in a row, as one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from server.training.augment import AppliedTransform, Augmentation, Augmented
from server.training.augmentations import AUGMENTATIONS
from server.training.augmentations.flip import FlipConfig
from server.training.augmentations.ground_truth_sampling import GroundTruthSampling, GroundTruthSamplingConfig
from server.training.augmentations.object_noise import ObjectNoiseConfig
from server.training.augmentations.object_scaling import ObjectScalingConfig
from server.training.augmentations.rotation import RotationConfig
from server.training.augmentations.scaling import ScalingConfig
from server.training.augmentations.statistical_normalisation import StatisticalNormalisationConfig
from server.training.ground_truth_database import GroundTruthDatabase
from server.training.samples import LabelledScan
from shared_models.errors import ConfigError, InvalidValueError, UnknownNameError
from shared_models.table import load


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentationConfig:
    """Which augmentations are applied, in which order, and the settings of each.

    order: names, each at most once; those not named are not applied. Default: OpenPCDet's for KITTI.
    flip, ground_truth_sampling, ...: settings of the augmentation of that name.
    """

    order: tuple[str, ...] = ("ground_truth_sampling", "flip", "rotation", "scaling")
    flip: FlipConfig = FlipConfig()
    ground_truth_sampling: GroundTruthSamplingConfig = GroundTruthSamplingConfig()
    object_noise: ObjectNoiseConfig = ObjectNoiseConfig()
    object_scaling: ObjectScalingConfig = ObjectScalingConfig()
    rotation: RotationConfig = RotationConfig()
    scaling: ScalingConfig = ScalingConfig()
    statistical_normalisation: StatisticalNormalisationConfig = StatisticalNormalisationConfig()

    def __post_init__(self) -> None:
        for name in self.order:
            if name not in AUGMENTATIONS:
                raise InvalidValueError(
                    f"AugmentationConfig.order: {UnknownNameError('augmentation', name, AUGMENTATIONS)}"
                )
        if len(set(self.order)) != len(self.order):
            raise InvalidValueError(f"AugmentationConfig.order: expected each name once, got {', '.join(self.order)}")

    @property
    def needs_database(self) -> bool:
        """Whether objects of other frames are put in."""
        return "ground_truth_sampling" in self.order

    def strengthened(self, factor: float) -> AugmentationConfig:
        """Object noise, rotation and scaling with their ranges `factor` times as wide (curriculum of ST3D)."""
        return replace(
            self,
            object_noise=self.object_noise.strengthened(factor),
            rotation=self.rotation.strengthened(factor),
            scaling=self.scaling.strengthened(factor),
        )


class Chain(Augmentation):
    """Augmentations one after the other; their transforms of the whole scene are joined into one."""

    def __init__(self, parts: tuple[Augmentation, ...]) -> None:
        self.parts = parts

    def apply_recorded(self, scan: LabelledScan, rng: np.random.Generator) -> Augmented:
        transform = AppliedTransform()
        for part in self.parts:
            step = part.apply_recorded(scan, rng)
            scan, transform = step.scan, transform.then(step.transform)
        return Augmented(scan=scan, transform=transform)


def compose(config: AugmentationConfig, database: GroundTruthDatabase | None = None) -> Augmentation:
    """The augmentations that `config` names, in its order.

    database: for ground-truth sampling; made of the labelled frames only.

    Raises:
        ConfigError: ground-truth sampling is named and there is no database.
    """
    return Chain(tuple(_part(name, getattr(config, name), database) for name in config.order))


def _part(name: str, config: Any, database: GroundTruthDatabase | None) -> Augmentation:
    part_class: type[Any] = load(AUGMENTATIONS, "augmentation", name)
    if part_class is not GroundTruthSampling:
        part: Augmentation = part_class(config)
        return part
    if database is None:
        raise ConfigError(
            "augmentation ground_truth_sampling needs the database of labelled objects; build it from the labelled "
            "frames, or take the name out of `order`"
        )
    return GroundTruthSampling(config, database)
