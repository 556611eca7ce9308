"""Augmentations by name; each is imported only when asked for. `server.training.augmentation_chain` joins them."""

from __future__ import annotations

AUGMENTATIONS = {
    "flip": "server.training.augmentations.flip:Flip",
    "ground_truth_sampling": "server.training.augmentations.ground_truth_sampling:GroundTruthSampling",
    "object_noise": "server.training.augmentations.object_noise:ObjectNoise",
    "object_scaling": "server.training.augmentations.object_scaling:ObjectScaling",
    "rotation": "server.training.augmentations.rotation:Rotation",
    "scaling": "server.training.augmentations.scaling:Scaling",
    "statistical_normalisation": "server.training.augmentations.statistical_normalisation:StatisticalNormalisation",
}
