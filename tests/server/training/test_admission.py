"""The check of new scenes, on made-up statistics whose medians, units and limits can be counted by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from server.training.admission import AdmissionConfig, Reference, Verdict
from shared_models.errors import ConfigError

NAMES = ("cells/log_count", "features/mean_0", "features/std_0", "boxes/count_car", "boxes/log_length_car")


def frames(count: int, seed: int = 0) -> list[dict[str, float]]:
    rng = np.random.default_rng(seed)
    return [
        {
            "cells/log_count": rng.normal(6, 0.3),
            "features/mean_0": rng.normal(0.4, 0.2),
            "features/std_0": rng.normal(1.0, 0.1),
            "boxes/count_car": math.sqrt(rng.poisson(4)),
            "boxes/log_length_car": rng.normal(1.4, 0.1),
        }
        for _ in range(count)
    ]


def test_units_medians_and_limit_by_hand() -> None:
    rows = [{"cells/log_count": float(value)} for value in range(11)]
    config = AdmissionConfig(share=0.1, spread=0.8, folds=11, least_limit=0.1, least_frames=3)
    reference = Reference.of(rows, config)
    # Median 5; deviations 0 1 1 2 2 3 3 4 4 5 5, of which 80 % are at most 4.
    assert reference.medians.tolist() == [5.0]
    assert reference.scales.tolist() == [4.0]
    # Left out one by one: the median of the others is 5.5 for 0 to 4 and 4.5 for 6 to 10, the two outermost are 5.5
    # away, and the 80 % quantile of the ten others' deviations is 3.7 there: the second largest of 11 is the limit.
    others = np.abs(np.arange(1, 11) - 5.5)
    assert reference.limit == pytest.approx(5.5 / np.quantile(others, 0.8))
    verdict = reference.judge({"cells/log_count": 15.0})
    assert not verdict.is_sound
    assert verdict.distance == 2.5
    assert verdict.reasons[0].to_dict() == {
        "statistic": "cells/log_count",
        "value": 15.0,
        "expected": 5.0,
        "distance": 2.5,
    }
    assert reference.judge({"cells/log_count": 9.0}) == Verdict(is_sound=True, distance=1.0)


@pytest.mark.parametrize("share", [0.05, 0.2])
def test_the_promised_share_of_sound_scenes_is_kept_out(share: float) -> None:
    kept_out = []
    for seed in range(20):
        reference = Reference.of(frames(100, seed), AdmissionConfig(share=share, least_limit=0))
        kept_out += [not reference.judge(row).is_sound for row in frames(100, 1000 + seed)]
    assert np.mean(kept_out) == pytest.approx(share, abs=0.025)


def test_neighbours_that_are_alike_are_not_compared_with_each_other() -> None:
    """Ten drives of ten equal frames: from the frames of other drives one can tell what a new drive is like."""
    rng, kept_out = np.random.default_rng(1), {10: [], 100: []}
    for _ in range(12):
        drives = [[{f"cells/{n}": float(value) for n, value in enumerate(rng.normal(0, 1, 3))}] * 10 for _ in range(11)]
        for folds, found in kept_out.items():
            config = AdmissionConfig(share=0.1, folds=folds, least_limit=0)
            reference = Reference.of([frame for drive in drives[1:] for frame in drive], config)
            found.append(not reference.judge(drives[0][0]).is_sound)
    assert np.mean(kept_out[10]) < np.mean(kept_out[100])


def test_a_statistic_without_spread_has_the_least_unit() -> None:
    rows = [dict.fromkeys(NAMES, 0.0) | {"features/std_0": 2.0} for _ in range(10)]
    reference = Reference.of(rows, AdmissionConfig())
    units = dict(zip(reference.names, reference.scales.tolist(), strict=True))
    assert units == {
        "cells/log_count": 0.05,
        "features/mean_0": 0.1,  # a twentieth of the channels' deviation
        "features/std_0": 0.1,
        "boxes/count_car": 0.8,
        "boxes/log_length_car": 0.05,
    }
    assert reference.judge({"boxes/count_car": 1.0}).is_sound  # one car where there was none
    assert not reference.judge({"boxes/count_car": 4.0}).is_sound


def test_what_cannot_be_measured_is_no_reason_and_what_is_infinite_is() -> None:
    rows = frames(30)
    for row in rows[:20]:
        row["boxes/log_length_car"] = math.nan
    reference = Reference.of(rows, AdmissionConfig())
    assert "boxes/log_length_car" not in reference.names  # less than half of the frames have it
    usual = {name: float(value) for name, value in zip(reference.names, reference.medians, strict=True)}
    assert reference.judge(usual | {"features/mean_0": math.nan}).is_sound
    broken = reference.judge(usual | {"features/mean_0": math.inf})
    assert [reason.statistic for reason in broken.reasons] == ["features/mean_0"]
    assert broken.reasons[0].to_dict()["value"] is None


def test_few_frames_are_refused() -> None:
    with pytest.raises(ConfigError, match="7 held-out labelled frames are too few.*at least 8"):
        Reference.of(frames(7), AdmissionConfig())
