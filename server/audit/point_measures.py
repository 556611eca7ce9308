"""How close a reconstruction comes to a scan. P is the truth (N points), Q the reconstruction (M points), metres.

All distances are Euclidean, unsquared, in float64. d(p, Q) is the distance from p to the nearest point of Q.

Empty sets: two empty clouds are equal (distances 0, shares 1, PSNR at its limit). Where exactly one is empty, every
distance is `peak_m`, the diagonal of the range, and every share 0, so that means over scenes stay finite.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

PSNR_LIMIT_DB: Final = 120.0
FITS: Final = 2**62


@dataclass(frozen=True, slots=True, kw_only=True)
class Nearest:
    """Distances between two clouds.

    from_truth: (N,) float64, d(p, Q) of each p in P. from_found: (M,) float64, d(q, P) of each q in Q. Metres.
    peak_m: the largest distance that counts, the diagonal of the range.
    """

    from_truth: NDArray[np.float64]
    from_found: NDArray[np.float64]
    peak_m: float

    @property
    def are_both_empty(self) -> bool:
        """There was nothing, and nothing was found."""
        return len(self.from_truth) == 0 and len(self.from_found) == 0

    @property
    def is_one_empty(self) -> bool:
        """One of the two clouds has no point, the other has some."""
        return (len(self.from_truth) == 0) != (len(self.from_found) == 0)

    def chosen(self, truth: NDArray[np.bool_], found: NDArray[np.bool_]) -> Nearest:
        """Only these points of each cloud; their distances are still to the whole other cloud."""
        return Nearest(from_truth=self.from_truth[truth], from_found=self.from_found[found], peak_m=self.peak_m)


def nearest(truth: NDArray[np.floating], found: NDArray[np.floating], peak_m: float) -> Nearest:
    """Distances between `truth` (N, 3 or more) and `found` (M, 3 or more), metres."""
    one, two = (np.asarray(cloud[:, :3], np.float64) for cloud in (truth, found))
    return Nearest(from_truth=_distances(one, two, peak_m), from_found=_distances(two, one, peak_m), peak_m=peak_m)


def _distances(source: NDArray[np.float64], target: NDArray[np.float64], peak_m: float) -> NDArray[np.float64]:
    if len(source) == 0 or len(target) == 0:
        return np.full(len(source), peak_m)
    distances: NDArray[np.float64] = cKDTree(target).query(source, workers=torch.get_num_threads())[0]
    return distances


def chamfer_m(d: Nearest) -> float:
    """CD = mean over p of d(p, Q) + mean over q of d(q, P); a sum, not halved, not squared. Metres."""
    if d.is_one_empty:
        return 2 * d.peak_m
    return 0.0 if d.are_both_empty else float(d.from_truth.mean() + d.from_found.mean())


def hausdorff_m(d: Nearest, share: float = 1.0) -> float:
    """HD = max(quantile_share of d(p, Q), quantile_share of d(q, P)); share 1 is the maximum, 0.95 the robust one."""
    if d.is_one_empty:
        return d.peak_m
    if d.are_both_empty:
        return 0.0
    return max(float(np.quantile(each, share)) for each in (d.from_truth, d.from_found))


def precision(d: Nearest, threshold_m: float) -> float:
    """P(t) = share of Q with d(q, P) <= t: how much of the reconstruction is there."""
    return _share(d.from_found, threshold_m, d)


def recall(d: Nearest, threshold_m: float) -> float:
    """R(t) = share of P with d(p, Q) <= t: how much of the scan came back."""
    return _share(d.from_truth, threshold_m, d)


def _share(distances: NDArray[np.float64], threshold_m: float, d: Nearest) -> float:
    if len(distances) == 0 or d.is_one_empty:
        return float(d.are_both_empty)
    return float((distances <= threshold_m).mean())


def f_score(d: Nearest, threshold_m: float) -> float:
    """F(t) = 2 P R / (P + R), 0 where both are 0 (A. Knapitsch et al., "Tanks and Temples", SIGGRAPH 2017)."""
    p, r = precision(d, threshold_m), recall(d, threshold_m)
    return 2 * p * r / (p + r) if p + r > 0 else 0.0


def psnr_d1_db(d: Nearest) -> float:
    """PSNR D1 = 10 log10(D^2 / max(mean of d(p, Q)^2, mean of d(q, P)^2)), at most `PSNR_LIMIT_DB`.

    MPEG's point-to-point measure (D. Tian et al., ICIP 2017) has 3 p^2 for a cube of side p: its squared diagonal.
    Here D is the diagonal of the detector's range.
    """
    if d.are_both_empty:
        return PSNR_LIMIT_DB
    if d.is_one_empty:
        return 0.0
    error = max(float((each**2).mean()) for each in (d.from_truth, d.from_found))
    return PSNR_LIMIT_DB if error == 0 else min(PSNR_LIMIT_DB, 10 * math.log10(d.peak_m**2 / error))


def voxel_iou(
    truth: NDArray[np.floating], found: NDArray[np.floating], size_m: float, low_m: NDArray[np.floating]
) -> float:
    """IoU = |occ(P) and occ(Q)| / |occ(P) or occ(Q)| over cubes of side `size_m` from `low_m` on; 1 for two empty."""
    one, two = (occupied_cells(cloud, (size_m,) * 3, low_m) for cloud in (truth, found))
    both = _common(one, two)
    either = len(one) + len(two) - both
    return both / either if either else 1.0


def occupied_cells(
    points: NDArray[np.floating], size_m: tuple[float, ...], low_m: NDArray[np.floating]
) -> NDArray[np.int64]:
    """(V, A) int64, unique and sorted: cells that points (N, A or more) lie in, on the first A = len(size_m) axes."""
    axes = len(size_m)
    scaled = (np.asarray(points[:, :axes], np.float64) - np.asarray(low_m, np.float64)[:axes]) / np.asarray(size_m)
    return _unique_rows(np.floor(scaled).astype(np.int64))


def cell_shares(truth: NDArray[np.int64], found: NDArray[np.int64]) -> tuple[float, float]:
    """(precision, recall) of unique cells (V, A): shares of `found` and of `truth` that are in both."""
    both = _common(truth, found)
    if len(truth) == 0 and len(found) == 0:
        return 1.0, 1.0
    return both / max(len(found), 1), both / max(len(truth), 1)


def _common(one: NDArray[np.int64], two: NDArray[np.int64]) -> int:
    """How many rows two arrays of unique rows share."""
    if len(one) == 0 or len(two) == 0:
        return 0
    return len(one) + len(two) - len(_unique_rows(np.concatenate((one, two))))


def _unique_rows(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """`np.unique(rows, axis=0)`, ten times as fast where each row (V, A) fits into one number."""
    if len(rows) == 0:
        return rows
    low = rows.min(0)
    extent = [int(most) - int(least) + 1 for most, least in zip(rows.max(0), low, strict=True)]
    if math.prod(extent) >= FITS:
        return np.unique(rows, axis=0)
    keys = np.unique(np.ravel_multi_index(tuple((rows - low).T), extent))
    return np.column_stack(np.unravel_index(keys, extent)).astype(np.int64) + low
