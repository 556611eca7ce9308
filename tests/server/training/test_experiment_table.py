from __future__ import annotations

import math
from dataclasses import replace

import pytest

from server.training.cell_results import CellResult
from server.training.experiment import ExperimentConfig, Variant
from server.training.experiment_table import closed_gaps, differences, estimate, summary
from shared_models.errors import InvalidValueError

METRIC, OTHER = "ap_all/strict/car/3d/moderate", "ap_all/strict/car/bev/moderate"


def cell(method: str, value: float, seed: int = 0) -> CellResult:
    return CellResult(
        cell=f"{method} {seed}", method=method, split="all", seed=seed, run_id="r", run_file={},
        run_file_sha256="0" * 64, checkpoint="c", model_sha256="0" * 64, seconds=1.0, numbers={METRIC: value},
        manifest_sha256={}, parent_sha256="",
    )  # fmt: skip


def test_mean_and_interval_by_hand() -> None:
    """Values 1, 2, 6: mean 3, deviation sqrt(7), t(0.975, 2 degrees) = 4.302653 from a printed table."""
    found = estimate([1.0, 2.0, 6.0], 0.95)
    assert (found.mean, found.count) == (3.0, 3)
    assert found.half_width == pytest.approx(4.302653 * math.sqrt(7) / math.sqrt(3), rel=1e-6)
    assert str(found) == "3.00 ± 6.57 (3)"
    alone = estimate([2.5], 0.95)
    assert math.isnan(alone.half_width)
    assert str(alone) == "2.50 (1)"
    # t(0.95, 1 degree) = 6.313752
    assert estimate([0.0, 2.0], 0.9).half_width == pytest.approx(6.313752, rel=1e-6)


def test_the_table_has_a_mean_over_splits_and_seeds_for_each_method() -> None:
    methods = tuple(Variant(name=name) for name in ("baseline", "longer"))
    config = ExperimentConfig(name="x", base="x.toml", metrics=(METRIC, OTHER), methods=methods)
    results = [cell("baseline", float(seed), seed) for seed in range(4)] + [cell("longer", 4.0), cell("longer", 5.0, 1)]
    found = summary(results, config)
    assert found["baseline"][METRIC].mean == 1.5
    assert (found["longer"][METRIC].mean, found["longer"][METRIC].count) == (4.5, 2)
    assert OTHER not in found["baseline"]
    assert summary(results[:4], config).keys() == {"baseline"}


def test_the_closed_gap_of_the_papers_table() -> None:
    """UpCycling's supplement, Table 8, 3D: 10.16 at the source, 82.02 of the oracle, 67.65 closes 80.00 %."""
    config = ExperimentConfig(
        name="x",
        base="x.toml",
        metrics=(METRIC,),
        gap_from="source",
        gap_to="oracle",
        methods=tuple(Variant(name=name) for name in ("source", "upcycling", "oracle")),
    )

    results = [cell("source", 10.16), cell("upcycling", 67.65), cell("oracle", 82.02), cell("upcycling", 50.0, seed=1)]
    gaps = closed_gaps(results, config)
    assert gaps["upcycling"][METRIC].mean == pytest.approx(80.0, abs=0.01)
    assert gaps["upcycling"][METRIC].count == 1  # the other seed has no references
    assert (gaps["source"][METRIC].mean, gaps["oracle"][METRIC].mean) == (0.0, 100.0)
    assert closed_gaps(results, replace(config, gap_from="")) == {}
    with pytest.raises(InvalidValueError, match="gap_to"):
        replace(config, gap_to="else")


def test_differences_are_of_pairs() -> None:
    """Splits differ by 10, the methods by 1, 2 and 3: mean 2, deviation 1, t(0.975, 2 degrees) = 4.302653."""
    methods = tuple(Variant(name=name) for name in ("baseline", "upcycling", "oracle"))
    config = ExperimentConfig(name="x", base="x.toml", metrics=(METRIC, OTHER), methods=methods)
    results = [cell("baseline", 10.0 * seed, seed) for seed in range(3)]
    results += [cell("upcycling", 11.0 * seed + 1, seed) for seed in range(3)] + [cell("upcycling", 99.0, seed=7)]
    (found,) = differences(results, config, "baseline").items()
    assert found[0] == "upcycling"
    (of_metric,) = found[1].items()
    assert of_metric[0] == METRIC
    assert (of_metric[1].mean, of_metric[1].count) == (2.0, 3)  # the fourth has no pair
    assert of_metric[1].half_width == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)
    assert of_metric[1].signed() == "+2.00 ± 2.48 (3)"
    assert differences(results, config, "upcycling")["baseline"][METRIC].signed() == "-2.00 ± 2.48 (3)"
    with pytest.raises(InvalidValueError, match="expected one of the methods baseline, upcycling, oracle, got 'other'"):
        differences(results, config, "other")
