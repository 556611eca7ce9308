"""Numbers and names of measures as people read them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from server.audit.page.markup import Amount, tag

NOTHING: Final = "–"
FLOOR, CEILING = "floor", "ceiling"
ABOVE: Final = "above_ground/"
LEAST: Final = 0.0001
SMALL: Final = 0.01  # below, one digit that counts

# beginning of a measure's name: how it is called; "{}" is the rest of the name
NAMES: Final = {
    "chamfer_m": "Chamfer distance, m",
    "hausdorff_m": "Hausdorff distance, m",
    "hausdorff_95_m": "Hausdorff distance 95 %, m",
    "psnr_d1_db": "PSNR D1, dB",
    "verbatim_share": "points recovered to the last bit, share",
    "points": "points in the reconstruction",
    "ground_cell_precision": "ground cells, precision",
    "ground_cell_recall": "ground cells, recall",
    "f_score_": "F-score at {}",
    "precision_": "precision at {}",
    "recall_": "recall at {}",
    "voxel_iou_": "voxel IoU, cubes of {}",
}


def confidence_of(report: Mapping[str, Any]) -> str:
    """How much of the draws an interval of this report holds; reports that do not say were made with 95 %."""
    return f"{100 * report.get('intervals', {}).get('confidence', 0.95):g} %"


def shown(value: float | None) -> str:
    """A number with as many digits as it can be trusted for; a dash for none."""
    if value is None or not math.isfinite(value):
        return NOTHING
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) >= 100:
        return f"{value:.1f}"
    if 0 < abs(value) < SMALL:
        return f"{value:.1g}" if abs(value) >= LEAST else f"< {LEAST}"
    return f"{value:.2f}"


def with_interval(estimate: Mapping[str, Any] | None) -> str:
    """A mean with its interval: "0.24 (0.22 to 0.25)"."""
    if estimate is None or estimate.get("mean") is None:
        return NOTHING
    if estimate.get("low") is None or estimate.get("high") is None:
        return shown(estimate["mean"])
    return f"{shown(estimate['mean'])} ({shown(estimate['low'])} to {shown(estimate['high'])})"


def cell(estimate: Mapping[str, Any] | None) -> Amount:
    """A mean above its interval, for a table."""
    whole = with_interval(estimate)
    mean, _, interval = whole.partition(" (")
    return Amount(tag("span", mean) + tag("small", interval.removesuffix(")")) if interval else mean)


def percent(value: float) -> str:
    """A share in percent."""
    return f"{100 * value:.0f} %" if value >= 0.0995 or value == 0 else f"{100 * value:.1f} %"


def measure_name(name: str) -> str:
    """A measure of the report in words, without the part of the scene that it is about."""
    word = name.rpartition("/")[2]
    if word in NAMES:
        return NAMES[word]
    found = next((begin for begin in NAMES if begin.endswith("_") and word.startswith(begin)), None)
    return word.replace("_", " ") if found is None else NAMES[found].format(_length(word.removeprefix(found)))


def part_name(name: str) -> str:
    """The part of the scene that a measure is about, in words."""
    kind, _, rest = name.rpartition("/")[0].partition("/")
    if kind == "class":
        return f"points on objects: {rest}"
    if kind == "band":
        return f"points at {band_name(rest)}"
    return {"": "whole scan", "above_ground": "points above the ground"}.get(kind, kind.replace("_", " "))


def band_name(band: str) -> str:
    """A distance band ("20-40m", "40-infm") in words."""
    low, _, high = band.removesuffix("m").partition("-")
    return f"{low} m and farther" if high == "inf" else f"{low} to {high} m"


def mean_of(estimates: Mapping[str, Any], name: str) -> float | None:
    """The mean of a measure, None where there is none."""
    value = estimates.get(name, {}).get("mean")
    return value if isinstance(value, int | float) and math.isfinite(value) else None


def middle_threshold(estimates: Mapping[str, Any]) -> str:
    """The threshold ("0.2m") that tables show: 0.2 m where it was measured, else the one in the middle."""
    found = [name.removeprefix("f_score_") for name in estimates if name.startswith("f_score_")]
    return "0.2m" if "0.2m" in found or not found else found[len(found) // 2]


def parts_of(names: Sequence[str], kind: str) -> list[str]:
    """What a kind of part ("class", "band") was measured for, in the report's order."""
    found = [name.split("/")[1] for name in names if name.startswith(f"{kind}/") and name.count("/") == 2]
    return list(dict.fromkeys(found))


def in_metres(threshold: str) -> str:
    """ "0.2m" as "0.2 m"."""
    return _length(threshold)


def _length(word: str) -> str:
    return f"{word.removesuffix('m')} m" if word.endswith("m") else word
