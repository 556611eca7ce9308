from __future__ import annotations

import pytest

from shared_models.visualisation.palette import GROUPS, colour_of, group_of


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("Car", "car"), ("REGULAR_VEHICLE", "car"), ("Van", "large vehicle"), ("Tram", "large vehicle"),
        ("Medium-sized Truck", "large vehicle"), ("VEHICULAR_TRAILER", "large vehicle"),
        ("Person_sitting", "pedestrian"), ("Pedestrian with Object", "pedestrian"), ("Cyclist", "two-wheeler"),
        ("MOTORCYCLE", "two-wheeler"), ("construction_vehicle", "large vehicle"), ("CONSTRUCTION_CONE", "other"),
        ("barrier", "other"), ("Misc", "other"),
    ],
)  # fmt: skip
def test_words_of_several_datasets(name, group):
    assert group_of(name) == group
    assert colour_of(name) == GROUPS[group][0]


def test_groups_have_different_colours():
    assert len({colour for colour, _ in GROUPS.values()}) == len(GROUPS)
