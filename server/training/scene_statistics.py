"""What a scene's features and a detector's boxes in it are like, as a few numbers: for the check of new scenes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from server.training.pseudo_labels import PseudoLabelConfig, choose_scored
from server.training.samples import Truth
from shared_models.heads.candidates import Candidates
from shared_models.records import GridFeatures, SceneFeatures

COUNT: Final = "boxes/count_"  # the square root of a number of boxes: one that is Poisson has a deviation of 1/2
BEST: Final = 10  # candidates whose scores are looked at


def scene_statistics(
    features: SceneFeatures,
    candidates: Candidates,
    labels: PseudoLabelConfig,
    class_names: Sequence[str],
    groups: int,
) -> dict[str, float]:
    """Numbers of one scene by name; NaN where there is nothing to measure, infinite where a feature is not finite.

    candidates: what the present teacher finds in it. labels: when one of them is a pseudo label.
    groups: neighbouring channels that have a mean and a deviation of their own.
    """
    found = cell_statistics(features.grid) | value_statistics("features", features.grid.features, groups)
    if features.keypoints is not None:
        found |= value_statistics("keypoints", features.keypoints.features, groups)
    return found | box_statistics(candidates, labels, class_names)


def cell_statistics(grid: GridFeatures) -> dict[str, float]:
    """Number of active cells, and where they lie, as shares of the map."""
    places = grid.coords.double().cpu() / torch.tensor(grid.shape, dtype=torch.float64)
    found = {"cells/log_count": float(np.log1p(len(places)))}
    for axis, name in ((2, "x"), (1, "y"), (0, "z")):
        along = places[:, axis].numpy()
        found[f"cells/centre_{name}"] = float(along.mean()) if len(along) else np.nan
        found[f"cells/spread_{name}"] = float(along.std()) if len(along) else np.nan
    return found


def value_statistics(kind: str, values: Tensor, groups: int) -> dict[str, float]:
    """Mean and deviation of each group of channels, share of zeros, and the logarithm of the largest absolute value.

    values: (V, C); V = 0 gives NaN everywhere.
    """
    numbers = values.double().cpu().numpy()
    parts = np.array_split(numbers, min(groups, numbers.shape[1]), axis=1)
    names = [f"{kind}/{what}_{number}" for number in range(len(parts)) for what in ("mean", "std")]
    names += [f"{kind}/zeros", f"{kind}/log_largest"]
    if not numbers.size:
        return dict.fromkeys(names, np.nan)
    if not np.isfinite(numbers).all():
        return dict.fromkeys(names, np.inf)
    found = [number for part in parts for number in (part.mean(), part.std())]
    found += [(numbers == 0).mean(), np.log1p(np.abs(numbers).max())]
    return {name: float(number) for name, number in zip(names, found, strict=True)}


def box_statistics(candidates: Candidates, labels: PseudoLabelConfig, class_names: Sequence[str]) -> dict[str, float]:
    """Numbers, scores and sizes of the boxes that would become pseudo labels, and the scores of the best candidates."""
    truth, scores = choose_scored(candidates, labels)
    found = {"boxes/score": float(scores[~truth.is_ignored].mean()) if (~truth.is_ignored).any() else np.nan}
    best = min(BEST, len(candidates))
    for name, values in (("iou", candidates.box_scores), ("class", candidates.class_scores)):
        found[f"candidates/{name}"] = float(values.topk(best).values.mean()) if best else 0.0
    for label, name in enumerate(class_names):
        found |= _of_class(name.casefold(), _boxes_of(truth, label))
    return found


def _boxes_of(truth: Truth, label: int) -> NDArray[np.float32]:
    return truth.boxes[~truth.is_ignored & (truth.labels == label)]


def _of_class(name: str, boxes: NDArray[np.float32]) -> Mapping[str, float]:
    sizes = np.log(np.maximum(boxes[:, 3:6].astype(np.float64), 1e-3))
    return {
        f"{COUNT}{name}": float(np.sqrt(len(boxes))),
        f"boxes/log_length_{name}": float(np.median(sizes[:, 0])) if len(boxes) else np.nan,
        f"boxes/log_volume_{name}": float(np.median(sizes.sum(1))) if len(boxes) else np.nan,
    }
