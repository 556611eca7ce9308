"""Datasets by name; each is imported only when it is opened."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shared_models.dataset import Dataset
from shared_models.errors import ConfigError
from shared_models.table import load

DATASETS = {
    "argoverse2": "shared_models.datasets.argoverse2:Argoverse2Dataset",
    "kitti": "shared_models.datasets.kitti:KittiDataset",
    "nuscenes": "shared_models.datasets.nuscenes:NuscenesDataset",
    "pandaset": "shared_models.datasets.pandaset:PandasetDataset",
    "simulated": "shared_models.datasets.simulated:SimulatedDataset",
    "waymo_sample": "shared_models.datasets.waymo_sample:WaymoSampleDataset",
}


def open_dataset(
    given: str,
    root: Path | None = None,
    split: str = "all",
    defaults: Mapping[str, Any] | None = None,
    *,
    with_labels: bool = True,
) -> Dataset:
    """The dataset that `given` names, restricted to `split`.

    given: a name in the table; one that is generated may have settings: `simulated,domain=usa,seed=3`.
    root: its folder; a generated dataset needs none.
    defaults: settings of a generated dataset where neither `given` nor its folder has them.
    with_labels: False leaves labels unread where they are stored apart from the scans; a vehicle needs none.

    Raises:
        UnknownNameError: no dataset of this name.
        ConfigError: a folder is missing where one is needed, or a setting is wrong.
        DatasetError: the folder or the split is missing or malformed.
    """
    name, *words = given.split(",")
    dataset_class: type[Dataset] = load(DATASETS, "dataset", name)
    if dataset_class.is_generated:
        return dataset_class.generate(root, split, settings_of(given, words), defaults or {})
    if words:
        raise ConfigError(f"dataset {given}: {name} is read from its folder and takes no settings")
    if root is None:
        raise ConfigError(f"dataset {given}: its folder is needed (--root DIR)")
    return dataset_class.open(root, split) if with_labels else dataset_class.open_unlabelled(root, split)


def settings_of(given: str, words: list[str], kind: str = "dataset") -> dict[str, Any]:
    """KEY=VALUE words as a mapping; a value is TOML where it is that (numbers, true), else text.

    `kind` is what `given` is called in the message.

    Raises:
        ConfigError: a word is not of that form.
    """
    wrong = next((word for word in words if "=" not in word), None)
    if wrong is not None:
        raise ConfigError(f"{kind} {given}: expected KEY=VALUE, got {wrong!r}")
    return {key: _value(text) for key, _, text in (word.partition("=") for word in words)}


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
