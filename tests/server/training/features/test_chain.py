from __future__ import annotations

from dataclasses import fields

import pytest

from server.training.features import FEATURE_AUGMENTATIONS
from server.training.features.chain import FeatureAugmentationConfig, compose_features
from shared_models.errors import ConfigError, InvalidValueError
from tests.feature_scenes import MAP


def test_every_name_has_its_settings():
    assert {field.name for field in fields(FeatureAugmentationConfig)} == {"order", *FEATURE_AUGMENTATIONS}


def test_wrong_orders_are_refused():
    with pytest.raises(InvalidValueError, match="unknown feature augmentation 'fliip'"):
        FeatureAugmentationConfig(order=("fliip",))
    with pytest.raises(InvalidValueError, match="each name once"):
        FeatureAugmentationConfig(order=("flip", "flip"))
    assert FeatureAugmentationConfig().needs_bank
    with pytest.raises(ConfigError, match="needs the bank of labelled objects"):
        compose_features(FeatureAugmentationConfig(), MAP)
    assert not FeatureAugmentationConfig(order=("flip", "noise")).needs_bank
