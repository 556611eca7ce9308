"""The two places that are simulated, and the streets that each has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from shared_models.errors import UnknownNameError


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Mean and standard deviation of [length width height], metres."""

    mean_m: tuple[float, float, float]
    deviation_m: tuple[float, float, float]

    def draw(self, generator: np.random.Generator) -> tuple[float, float, float]:
        """One object's size; tall ones tend to be long and wide, and none is beyond 2.5 standard deviations."""
        shared = generator.normal()
        own = generator.normal(size=3)
        steps = np.clip(0.6 * shared + 0.8 * own, -2.5, 2.5)
        length, width, height = np.asarray(self.mean_m) + steps * np.asarray(self.deviation_m)
        return float(length), float(width), float(height)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreetKind:
    """One kind of street; ranges are [least most], of which each drive draws its own.

    share: how often the kind comes, relative to the others of its domain.
    lanes: driving lanes in each direction.
    lane_m: width of a lane.
    parking_share: share of the kerb on which cars stand; 0 means no parking lane at all.
    sidewalk_m: width of each sidewalk.
    setback_m: from the sidewalk to the house fronts.
    gap_m: between neighbouring houses; 0 joins them to a row.
    storeys: of the houses.
    tree_spacing_m: along each side.
    headway_m: mean distance between vehicles on a lane.
    speed_mps: of the traffic.
    people_per_100_m: pedestrians, both sides together.
    crossing_spacing_m: distance between side streets.
    """

    share: float
    lanes: tuple[int, int]
    lane_m: tuple[float, float]
    parking_share: tuple[float, float]
    sidewalk_m: tuple[float, float]
    setback_m: tuple[float, float]
    gap_m: tuple[float, float]
    storeys: tuple[int, int]
    tree_spacing_m: tuple[float, float]
    headway_m: tuple[float, float]
    speed_mps: tuple[float, float]
    people_per_100_m: tuple[float, float]
    crossing_spacing_m: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """A place: its vehicles, people and streets.

    sizes: per KITTI class name.
    bodies: body shapes of cars and their shares.
    van_share, truck_share: of the vehicles; the rest are cars.
    cyclist_share: cyclists per pedestrian.
    streets: kinds of street.
    """

    name: str
    sizes: dict[str, Sizes]
    bodies: dict[str, float]
    van_share: float
    truck_share: float
    cyclist_share: float
    streets: tuple[StreetKind, ...]


# Cars: KITTI's mean training label, and the same plus ST3D's difference of Waymo's mean (0.91, 0.49, 0.26 m; J. Yang et
# al., "ST3D", CVPR 2021, statistical normalisation). The other sizes are near both data sets' anchors.
GERMANY: Final = Domain(
    name="germany",
    sizes={
        "Car": Sizes(mean_m=(3.88, 1.63, 1.53), deviation_m=(0.40, 0.10, 0.12)),
        "Van": Sizes(mean_m=(5.06, 1.90, 2.20), deviation_m=(0.55, 0.13, 0.25)),
        "Truck": Sizes(mean_m=(9.60, 2.56, 3.30), deviation_m=(2.00, 0.15, 0.35)),
        "Pedestrian": Sizes(mean_m=(0.84, 0.66, 1.76), deviation_m=(0.16, 0.10, 0.10)),
        "Cyclist": Sizes(mean_m=(1.76, 0.60, 1.74), deviation_m=(0.10, 0.08, 0.08)),
    },
    bodies={"hatchback": 0.45, "estate": 0.25, "saloon": 0.18, "offroader": 0.12},
    van_share=0.10,
    truck_share=0.04,
    cyclist_share=0.25,
    streets=(
        StreetKind(  # residential
            share=0.45, lanes=(1, 1), lane_m=(2.6, 3.1), parking_share=(0.1, 0.65), sidewalk_m=(1.5, 3.2),
            setback_m=(0.5, 6.0), gap_m=(2.0, 9.0), storeys=(2, 3), tree_spacing_m=(9, 25), headway_m=(60, 200),
            speed_mps=(4, 8), people_per_100_m=(0.5, 3), crossing_spacing_m=(60, 120),
        ),
        StreetKind(  # inner city
            share=0.30, lanes=(1, 2), lane_m=(2.9, 3.3), parking_share=(0.1, 0.6), sidewalk_m=(2.0, 4.5),
            setback_m=(0.0, 1.0), gap_m=(0.0, 2.0), storeys=(3, 6), tree_spacing_m=(12, 40), headway_m=(25, 90),
            speed_mps=(3, 11), people_per_100_m=(2, 12), crossing_spacing_m=(70, 140),
        ),
        StreetKind(  # road out of town
            share=0.25, lanes=(1, 2), lane_m=(3.1, 3.5), parking_share=(0.0, 0.0), sidewalk_m=(1.0, 2.0),
            setback_m=(6.0, 20.0), gap_m=(15.0, 50.0), storeys=(1, 3), tree_spacing_m=(6, 18), headway_m=(35, 120),
            speed_mps=(9, 16), people_per_100_m=(0, 1), crossing_spacing_m=(120, 220),
        ),
    ),
)  # fmt: skip
USA: Final = Domain(
    name="usa",
    sizes={
        "Car": Sizes(mean_m=(4.79, 2.12, 1.79), deviation_m=(0.42, 0.13, 0.18)),
        "Van": Sizes(mean_m=(5.70, 2.35, 2.45), deviation_m=(0.50, 0.15, 0.30)),
        "Truck": Sizes(mean_m=(10.2, 2.80, 3.50), deviation_m=(2.50, 0.18, 0.40)),
        "Pedestrian": Sizes(mean_m=(0.90, 0.84, 1.74), deviation_m=(0.16, 0.12, 0.13)),
        "Cyclist": Sizes(mean_m=(1.80, 0.82, 1.77), deviation_m=(0.12, 0.08, 0.10)),
    },
    bodies={"offroader": 0.38, "saloon": 0.34, "pickup": 0.16, "hatchback": 0.08, "estate": 0.04},
    van_share=0.06,
    truck_share=0.05,
    cyclist_share=0.08,
    streets=(
        StreetKind(  # suburb
            share=0.35, lanes=(1, 1), lane_m=(3.4, 3.9), parking_share=(0.2, 0.65), sidewalk_m=(1.5, 2.5),
            setback_m=(5.0, 12.0), gap_m=(2.5, 6.0), storeys=(1, 2), tree_spacing_m=(10, 30), headway_m=(35, 120),
            speed_mps=(5, 11), people_per_100_m=(0.5, 3), crossing_spacing_m=(90, 160),
        ),
        StreetKind(  # downtown
            share=0.35, lanes=(2, 3), lane_m=(3.3, 3.7), parking_share=(0.4, 0.85), sidewalk_m=(3.0, 5.0),
            setback_m=(0.0, 2.0), gap_m=(0.0, 3.0), storeys=(2, 9), tree_spacing_m=(12, 40), headway_m=(15, 45),
            speed_mps=(3, 11), people_per_100_m=(3, 16), crossing_spacing_m=(90, 130),
        ),
        StreetKind(  # avenue with shops and parking lots
            share=0.30, lanes=(2, 3), lane_m=(3.5, 3.8), parking_share=(0.0, 0.0), sidewalk_m=(1.5, 3.0),
            setback_m=(12.0, 28.0), gap_m=(10.0, 40.0), storeys=(1, 2), tree_spacing_m=(14, 45), headway_m=(20, 60),
            speed_mps=(9, 18), people_per_100_m=(0, 3), crossing_spacing_m=(120, 220),
        ),
    ),
)  # fmt: skip
DOMAINS: Final = {domain.name: domain for domain in (GERMANY, USA)}


def domain_of(name: str) -> Domain:
    """The domain `name`.

    Raises:
        UnknownNameError: there is none of this name; the message lists the known ones.
    """
    if name not in DOMAINS:
        raise UnknownNameError("domain", name, DOMAINS)
    return DOMAINS[name]
