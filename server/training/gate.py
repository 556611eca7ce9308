"""Whether a new checkpoint may replace the published one: its AP on the held-out frames against that of former ones.

Both are measured on the same frames, and the frames are drawn anew with replacement many times (paired bootstrap;
B. Efron and R. Tibshirani, "An Introduction to the Bootstrap", 1993). A plain difference would let one missed object
of a rare class, which is twenty points of AP where there are five of them, stop a good checkpoint; the share of
draws in which the new one is worse says how sure that is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from shared_models.records import check

# AP in percent by class on the held-out frames with these numbers, each as often as it stands there.
Scores = Callable[[NDArray[np.int64]], Mapping[str, float]]
MEAN: Final = "mean"


@dataclass(frozen=True, slots=True, kw_only=True)
class GateConfig:
    """When a new checkpoint is published.

    margin: points of AP by which the mean over classes may be lower. class_margin: the same of each class.
    confidence: share of the draws in which the loss must exceed its margin before the checkpoint is refused, 0 to 1.
    resamples: draws of the held-out frames; 0 compares once, on all frames as they are.
    watches_best: compare with the best published checkpoint too, not only with the last one, so that many small losses
        do not add up.
    metric, overlap: all-point AP in space or from above, at KITTI's "strict" overlaps or the "loose" ones.
    """

    margin: float = 1.0
    class_margin: float = 3.0
    confidence: float = 0.9
    resamples: int = 100
    watches_best: bool = True
    metric: Literal["3d", "bev"] = "3d"
    overlap: Literal["strict", "loose"] = "strict"

    def __post_init__(self) -> None:
        check.number("GateConfig", "margin", self.margin, 0, 100)
        check.number("GateConfig", "class_margin", self.class_margin, 0, 100)
        check.number("GateConfig", "confidence", self.confidence, 0, 1)
        check.count("GateConfig", "resamples", self.resamples, 10**6, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class GateDecision:
    """Whether a checkpoint passes.

    why: in words. differences: new AP minus that of the published one, points, on all frames, by class and "mean"; the
        lower one where it was compared with two. scores: the new AP by class and "mean".
    """

    is_passed: bool
    why: str
    differences: Mapping[str, float] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)

    def numbers(self) -> dict[str, float]:
        """For curves."""
        found = {"gate/is_passed": float(self.is_passed)}
        for name, value in self.differences.items():
            found[f"gate/difference/{_part(name)}"] = value
        return found

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "is_passed": self.is_passed,
            "why": self.why,
            "differences": dict(self.differences),
            "scores": dict(self.scores),
        }


def judge(
    new: Scores, against: Mapping[str, Scores], frames: int, config: GateConfig, seed: tuple[int, ...]
) -> GateDecision:
    """The decision on a new checkpoint.

    against: checkpoints to compare with, by what they are called ("the last published one"); without any it passes.
    frames: held-out ones. seed: of the draws.
    """
    everything = np.arange(frames)
    scores = with_mean(new(everything))
    draws = _draws(frames, config.resamples, seed)
    new_drawn = [with_mean(new(rows)) for rows in draws] if against else []
    lowest: dict[str, float] = {}
    faults: list[str] = []
    for called, old in against.items():
        plain = _differences(scores, with_mean(old(everything)))
        drawn = [_differences(mine, with_mean(old(rows))) for mine, rows in zip(new_drawn, draws, strict=True)]
        faults += [f"{fault} than {called}" for fault in _faults(plain, drawn, config)]
        lowest |= {name: min(value, lowest.get(name, value)) for name, value in plain.items()}
    why = "; ".join(faults) or ("not worse than " + " and ".join(against) if against else "the first one")
    return GateDecision(is_passed=not faults, why=why, differences=lowest, scores=scores)


def with_mean(scores: Mapping[str, float]) -> dict[str, float]:
    """Those that are numbers, and their mean: classes without any object are not watched."""
    found = {name: value for name, value in scores.items() if not math.isnan(value)}
    return found | ({MEAN: sum(found.values()) / len(found)} if found else {})


def _draws(frames: int, count: int, seed: tuple[int, ...]) -> NDArray[np.int64]:
    """(count, frames) rows of the held-out frames, drawn with replacement."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, frames, (count, frames), dtype=np.int64)


def _differences(new: Mapping[str, float], old: Mapping[str, float]) -> dict[str, float]:
    return {name: new[name] - old[name] for name in new if name in old}


def _faults(plain: Mapping[str, float], drawn: list[dict[str, float]], config: GateConfig) -> list[str]:
    """What is worse by more than its margin, in words."""
    found = []
    for name, difference in plain.items():
        margin = config.margin if name == MEAN else config.class_margin
        values = [each[name] for each in drawn if name in each] or [difference]
        share = sum(value < -margin for value in values) / len(values)
        if share > 0 and share >= config.confidence:
            found.append(f"{name} {difference:+.1f} points (more than {margin:g} worse in {share:.0%} of the draws)")
    return found


def _part(name: str) -> str:
    return name.casefold().replace(" ", "_")
