"""Several augmentations of features in a row, as one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from server.training.feature_augment import FeatureAugmentation
from server.training.features import FEATURE_AUGMENTATIONS
from server.training.features.feature_ground_truth import FeatureGroundTruth, FeatureGroundTruthConfig
from server.training.features.flip import FeatureFlipConfig
from server.training.features.geometry import FeatureMap
from server.training.features.noise import FeatureNoiseConfig
from server.training.features.object_bank import FeatureBank
from server.training.features.random_sampling import FeatureRandomSamplingConfig
from server.training.features.rotation import FeatureRotationConfig
from server.training.features.scene import FeatureScan
from server.training.features.unchanged import UnchangedConfig
from shared_models.errors import ConfigError, InvalidValueError, UnknownNameError
from shared_models.table import load


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureAugmentationConfig:
    """Which augmentations of features are applied, in which order, and the settings of each.

    order: names, each at most once; those not named are not applied. Default: UpCycling's of ICCV 2023; its first
        version had ("fgt", "frot").
    fgt, flip, ...: settings of the augmentation of that name.
    """

    order: tuple[str, ...] = ("fgt",)
    fgt: FeatureGroundTruthConfig = FeatureGroundTruthConfig()
    flip: FeatureFlipConfig = FeatureFlipConfig()
    frot: FeatureRotationConfig = FeatureRotationConfig()
    noise: FeatureNoiseConfig = FeatureNoiseConfig()
    none: UnchangedConfig = UnchangedConfig()
    rotation: FeatureRotationConfig = FeatureRotationConfig()
    rs: FeatureRandomSamplingConfig = FeatureRandomSamplingConfig()

    def __post_init__(self) -> None:
        for name in self.order:
            if name not in FEATURE_AUGMENTATIONS:
                raise InvalidValueError(
                    "FeatureAugmentationConfig.order: "
                    f"{UnknownNameError('feature augmentation', name, FEATURE_AUGMENTATIONS)}"
                )
        if len(set(self.order)) != len(self.order):
            raise InvalidValueError(
                f"FeatureAugmentationConfig.order: expected each name once, got {', '.join(self.order)}"
            )

    @property
    def needs_bank(self) -> bool:
        """Whether features of labelled objects are put in."""
        return "fgt" in self.order


class FeatureChain(FeatureAugmentation):
    """Augmentations one after the other."""

    def __init__(self, parts: tuple[FeatureAugmentation, ...]) -> None:
        self.parts = parts

    def apply(self, scan: FeatureScan, rng: np.random.Generator) -> FeatureScan:
        for part in self.parts:
            scan = part.apply(scan, rng)
        return scan


def compose_features(
    config: FeatureAugmentationConfig, feature_map: FeatureMap, bank: FeatureBank | None = None
) -> FeatureAugmentation:
    """The augmentations that `config` names, in its order.

    feature_map: of the detector (`FeatureMap.of(detector.config.voxels)`).
    bank: for F-GT; made of the labelled frames only, by the same backbone.

    Raises:
        ConfigError: F-GT is named and there is no bank.
    """
    return FeatureChain(tuple(_part(name, getattr(config, name), feature_map, bank) for name in config.order))


def _part(name: str, config: Any, feature_map: FeatureMap, bank: FeatureBank | None) -> FeatureAugmentation:
    part_class: type[Any] = load(FEATURE_AUGMENTATIONS, "feature augmentation", name)
    if part_class is not FeatureGroundTruth:
        part: FeatureAugmentation = part_class(config, feature_map)
        return part
    if bank is None:
        raise ConfigError(
            "feature augmentation fgt needs the bank of labelled objects; build it from the labelled frames with the "
            "frozen backbone, or take the name out of `order`"
        )
    return FeatureGroundTruth(config, bank)
