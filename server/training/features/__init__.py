"""Augmentations of features by name; each is imported only when asked for. `.chain` joins them.

"fgt" is UpCycling's own; the others are those that the paper compares it with. "frot", the rotation of the paper's
first version, is rotation under its other name, with settings of its own.
"""

from __future__ import annotations

FEATURE_AUGMENTATIONS = {
    "fgt": "server.training.features.feature_ground_truth:FeatureGroundTruth",
    "flip": "server.training.features.flip:FeatureFlip",
    "frot": "server.training.features.rotation:FeatureRotation",
    "noise": "server.training.features.noise:FeatureNoise",
    "none": "server.training.features.unchanged:Unchanged",
    "rotation": "server.training.features.rotation:FeatureRotation",
    "rs": "server.training.features.random_sampling:FeatureRandomSampling",
}
