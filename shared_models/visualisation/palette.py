"""Colours of classes, the same in every view, and chosen to stay apart for colour-blind readers (Okabe and Ito)."""

from __future__ import annotations

from typing import Final

BACKGROUND: Final = "#10141c"
FAINT: Final = "#8a94a6"

# group: (colour, words that a class name of the group contains); the first group that fits is taken
GROUPS: Final = {
    "two-wheeler": ("#f0e442", ("cyclist", "bicycle", "motorcycle", "bicyclist", "wheeled")),
    "pedestrian": ("#e66fb0", ("pedestrian", "person", "stroller", "wheelchair")),
    "large vehicle": ("#56b4e9", ("van", "truck", "bus", "tram", "trailer", "construction", "large", "train")),
    "car": ("#ff9d2e", ("car", "vehicle")),
    "other": ("#c9ced6", ("",)),
}
NOT_VEHICLES: Final = ("cone", "sign", "barrier", "barricade", "bollard")


def group_of(class_name: str) -> str:
    """The group of a class in any dataset's words."""
    name = class_name.lower()
    if any(word in name for word in NOT_VEHICLES):
        return "other"
    return next(group for group, (_, words) in GROUPS.items() if any(word in name for word in words))


def colour_of(class_name: str) -> str:
    """The colour of a class in any dataset's words."""
    return GROUPS[group_of(class_name)][0]
