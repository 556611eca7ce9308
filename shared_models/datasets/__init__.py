"""Datasets by name; each is imported only when it is opened."""

from __future__ import annotations

from pathlib import Path

from shared_models.dataset import Dataset
from shared_models.table import load

DATASETS = {
    "kitti": "shared_models.datasets.kitti:KittiDataset",
}


def open_dataset(name: str, root: Path, split: str = "all") -> Dataset:
    """The dataset `name` in folder `root`, restricted to `split`.

    Raises:
        UnknownNameError: no dataset of this name.
        DatasetError: the folder or the split is missing or malformed.
    """
    dataset_class: type[Dataset] = load(DATASETS, "dataset", name)
    return dataset_class.open(root, split)
