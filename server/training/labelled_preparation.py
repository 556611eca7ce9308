"""What every recipe does with labelled scans: read, augment with objects of the labelled split, cut to the range."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from server.training.augmentation_chain import compose
from server.training.ground_truth_database import DatabaseConfig, GroundTruthDatabase, build_database
from server.training.labelled_data import in_range
from server.training.loader import PrepareLabelled
from server.training.recipe import RecipeSetup
from server.training.samples import LabelledScan


def scans_in_range(setup: RecipeSetup) -> Iterator[LabelledScan]:
    """The labelled scans as they are, with the boxes that the detector can find."""
    return (replace(scan, truth=in_range(scan.truth, setup.range_m)) for scan in setup.labelled)


def object_database(setup: RecipeSetup, min_points: int) -> GroundTruthDatabase:
    """The database of the labelled split's objects.

    Raises:
        InvalidValueError: a scan is not of the split whose labels the run file allows.
    """
    config = DatabaseConfig(min_points=min_points)
    return build_database(scans_in_range(setup), setup.allowed_labels, setup.detector.point_fields, config)


def labelled_preparation(setup: RecipeSetup, min_points: int) -> PrepareLabelled:
    """Prepares labelled samples by the run file's augmentation. min_points: of the database's objects."""
    augmentation = setup.run.augmentation
    database = object_database(setup, min_points) if augmentation.needs_database else None
    return PrepareLabelled(setup.labelled, compose(augmentation, database), setup.range_m)
