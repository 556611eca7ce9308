from __future__ import annotations

import math

import pytest

from shared_models.errors import ConfigError
from shared_models.statistics.comparison import columns, insert_into, markdown, ratio
from shared_models.statistics.summary import Statistics

REAL = Statistics(
    name="kitti",
    is_simulated=False,
    values={"frames": 25, "points, in view": 20000, "azimuth step (degrees)": 0.18, "car width, std (m)": 0.0},
)
SIMULATED = Statistics(
    name="simulated",
    is_simulated=True,
    values={
        "frames": 50,
        "points, in view": 31000,
        "azimuth step (degrees)": 0.18,
        "car width, std (m)": 0.1,
        "points per car, 0-10 m": math.nan,
    },
    counts={"points per car, 0-10 m": 4},
)


def test_ratios_of_what_both_have():
    assert ratio(SIMULATED, REAL) == {"points, in view": 1.55, "azimuth step (degrees)": 1.0}


def test_what_is_off_by_more_than_half_is_marked():
    table = columns([REAL, SIMULATED], [("simulated", "kitti")])
    assert [column.heading for column in table] == ["kitti", "simulated", "÷ kitti"]
    assert table[2].off == {"points, in view"}
    text = markdown(table)
    assert "| points, in view | 20,000 | 31,000 | **1.55** |" in text
    assert "| azimuth step (degrees) | 0.18 | 0.18 | 1.00 |" in text
    assert text.splitlines()[1] == "| --- | ---: | ---: | ---: |"


def test_an_unknown_partner_is_refused():
    with pytest.raises(ConfigError, match="'waymo'; known: kitti, simulated"):
        columns([REAL, SIMULATED], [("simulated", "waymo")])


def test_a_table_takes_the_place_of_the_old_one(tmp_path):
    path = tmp_path / "page.md"
    path.write_text("before\n<!-- statistics: begin -->\nold\n<!-- statistics: end -->\nafter\n")
    insert_into(path, "new\n")
    insert_into(path, "newer\n")
    assert path.read_text() == "before\n<!-- statistics: begin -->\nnewer\n<!-- statistics: end -->\nafter\n"
    path.write_text("no markers")
    with pytest.raises(ConfigError, match="statistics: begin"):
        insert_into(path, "new\n")
    with pytest.raises(ConfigError, match="cannot be read"):
        insert_into(tmp_path / "missing.md", "new\n")
