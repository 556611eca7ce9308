"""Features of objects put into a scene, in place of what was there: cells and keypoints."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shared_models.geometry.boxes import points_in_boxes
from shared_models.records import GridFeatures, SetFeatures
from shared_models.sparse.sites import coords_from_keys


def paste_cells(grid: GridFeatures, cleared: Tensor, coords: Tensor, features: Tensor) -> GridFeatures:
    """The grid with some columns emptied and new cells in them.

    cleared: (P,) int64, row-major numbers seen from above; these columns lose their cells in all slices.
    coords: (S, 3) int32 [z y x], unique, all in cleared columns. features: (S, C). All on the grid's device.
    """
    depth, height, width = grid.shape
    is_cleared = torch.zeros(height * width, dtype=torch.bool, device=cleared.device)
    is_cleared[cleared] = True
    keys = grid.keys()
    kept = (~is_cleared[keys % (height * width)]).nonzero().squeeze(1)
    z, y, x = coords.long().unbind(1)
    keys, rows = merge_rows(keys[kept], kept, (z * height + y) * width + x)
    return GridFeatures(
        coords=coords_from_keys(keys, (depth, height, width))[:, 1:].contiguous(),
        features=take_rows(grid.features, features, rows),
        shape=grid.shape,
    )


def merge_rows(old_keys: Tensor, old_rows: Tensor, new_keys: Tensor) -> tuple[Tensor, Tensor]:
    """Two key lists as one sorted list, and where each row comes from.

    old_keys, old_rows: (A,) int64 keys and the rows that they stand for. new_keys: (S,), rows 0 to S.
    Gives (A + S,) sorted keys and (A + S,) rows: r for an old one, -1 - r for a new one.
    """
    new_rows = -1 - torch.arange(len(new_keys), device=new_keys.device)
    keys, order = torch.cat((old_keys, new_keys)).sort()
    return keys, torch.cat((old_rows, new_rows))[order]


def take_rows(old: Tensor, new: Tensor, rows: Tensor) -> Tensor:
    """(n, C): rows r >= 0 of `old` and -1 - r of `new` for r < 0, in `old`'s dtype."""
    if not len(old):
        return new[-1 - rows].to(old.dtype)
    taken = old.index_select(0, rows.clamp(min=0))  # one pass over the many old rows, then the few new ones over it
    is_new = (rows < 0).nonzero().squeeze(1)
    taken[is_new] = new[-1 - rows[is_new]].to(old.dtype)
    return taken


def paste_keypoints(
    scene: SetFeatures,
    boxes: NDArray[np.float32],
    objects: SetFeatures,
    count: int,
    rng: np.random.Generator,
) -> SetFeatures:
    """Exactly `count` keypoints: those of the scene outside `boxes`, then those of the objects.

    Too many: background keypoints are dropped at random, and where that is not enough, those of objects. Too few:
    background keypoints are repeated, or where there are none, those of objects; with neither, the set is empty.
    boxes: (M, 7). objects: keypoints in the boxes, on the scene's device.
    """
    inside = points_in_boxes(scene.positions, torch.from_numpy(boxes).to(scene.positions.device))
    background = (inside < 0).nonzero().squeeze(1).cpu().numpy()
    added = -1 - np.arange(len(objects))
    if len(added) > count:
        added = -1 - np.sort(rng.choice(len(objects), count, replace=False))
    filled = fill_up(background, count - len(added), rng)
    if not len(filled) and len(added):
        added = np.concatenate((added, fill_up(added, count - len(added), rng)))
    rows = torch.from_numpy(np.concatenate((filled, added))).to(scene.positions.device)
    return SetFeatures(
        positions=take_rows(scene.positions, objects.positions, rows),
        features=take_rows(scene.features, objects.features, rows),
    )


def fill_up(rows: NDArray[np.int64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """(count,) of `rows`, in their order: drawn without repetition, or all of them and random repetitions.

    Empty where there are no rows.
    """
    if not len(rows) or count <= 0:
        return np.empty(0, dtype=np.int64)
    if count <= len(rows):
        return rows[np.sort(rng.choice(len(rows), count, replace=False))]
    times, rest = divmod(count, len(rows))
    again = np.sort(rng.choice(len(rows), rest, replace=False))
    return np.concatenate((np.tile(rows, times), rows[again]))
