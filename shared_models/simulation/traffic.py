"""What moves and what stands parked: every object with its track, and where each is at any moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from shared_models.simulation.domains import Domain, StreetKind
from shared_models.simulation.materials import SemanticClass
from shared_models.simulation.people import STRIDE_M, Swinging, cyclist, lifted, pedestrian, rigid
from shared_models.simulation.roads import PARKING_LANE_M, Road
from shared_models.simulation.vehicle_shapes import SLACK_M, Size, car_mesh, truck_mesh

Floats = NDArray[np.float64]
CLEAR_OF_EGO_M: Final = 9.0
LOT_PITCH_M: Final = 2.75


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """One object and its way: straight along the street (or across it) at a constant speed plus a slow sway.

    track_id: 1 and up, unique in the drive.
    class_name: KITTI's word.
    size_m: [length width height] of its box.
    s_m, d_m: place on the street at time 0.
    along_mps, across_mps: speed in s and in d.
    sway_m, sway_hz, sway_phase: amplitude, frequency and phase of the sway in s.
    turn_rad: heading relative to the street's.
    stride_m: distance in which the limbs swing once, 0 for bodies without limbs.
    is_parked: it never moves, so it is part of the drive's fixed scene.
    """

    track_id: int
    class_name: str
    size_m: Size
    body: Swinging
    s_m: float
    d_m: float
    along_mps: float = 0.0
    across_mps: float = 0.0
    sway_m: float = 0.0
    sway_hz: float = 0.0
    sway_phase: float = 0.0
    turn_rad: float = 0.0
    stride_m: float = 0.0
    is_parked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where A actors are at a moment: (A,) float64 each; `phase_rad` is that of the limbs."""

    x: Floats
    y: Floats
    z: Floats
    yaw_rad: Floats
    pitch_rad: Floats
    s_m: Floats
    phase_rad: Floats

    def rotations(self) -> Floats:
        """(A, 3, 3) rotations of the bodies into the world."""
        cos_yaw, sin_yaw = np.cos(self.yaw_rad), np.sin(self.yaw_rad)
        cos_pitch, sin_pitch = np.cos(self.pitch_rad), np.sin(self.pitch_rad)
        rows = [
            [cos_yaw * cos_pitch, -sin_yaw, -cos_yaw * sin_pitch],
            [sin_yaw * cos_pitch, cos_yaw, -sin_yaw * sin_pitch],
            [sin_pitch, np.zeros_like(cos_yaw), cos_pitch],
        ]
        return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)

    def positions(self) -> Floats:
        """(A, 3) places of the bodies' origins, on the ground."""
        return np.stack([self.x, self.y, self.z], axis=-1)


def places(road: Road, actors: Sequence[Actor], time_s: float | Floats) -> Places:
    """Where the actors are at `time_s`, one moment or one for each."""
    fields = ("s_m", "d_m", "along_mps", "across_mps", "sway_m", "sway_hz", "sway_phase", "turn_rad", "stride_m")
    table = np.array([[getattr(a, f) for f in fields] for a in actors], dtype=np.float64).reshape(-1, len(fields))
    s, d, along, across, sway, hertz, phase, turn, stride = table.T
    length = np.array([a.size_m[0] for a in actors], dtype=np.float64)
    swayed = np.sin(2 * np.pi * hertz * time_s + phase) - np.sin(phase)
    s, d = s + along * time_s + sway * swayed, d + across * time_s
    edge = np.where([a.class_name == "Pedestrian" for a in actors], road.half_width_m + road.sidewalk_m, np.inf)
    d = np.clip(d, -edge, edge)  # who has crossed the street stays on the sidewalk
    x, y, heading = road.at(s, d)
    yaw = heading + turn
    reach = 0.35 * length
    level = road.raised_m(s, d)
    ahead = road.hills_m(x + reach * np.cos(yaw), y + reach * np.sin(yaw))
    behind = road.hills_m(x - reach * np.cos(yaw), y - reach * np.sin(yaw))
    travelled = (np.abs(along) + np.abs(across)) * time_s
    return Places(
        x=x,
        y=y,
        z=(ahead + behind) / 2 + level,
        yaw_rad=yaw,
        pitch_rad=np.arctan2(ahead - behind, 2 * reach),
        s_m=s,
        phase_rad=2 * np.pi * travelled / np.where(stride > 0, stride, np.inf) + phase,
    )


class Populace:
    """Gives out actors of one domain with increasing track ids."""

    def __init__(self, generator: np.random.Generator, domain: Domain) -> None:
        self._generator, self._domain = generator, domain
        self._count = 0

    def vehicle(self, s: float, d: float, turn: float, largest: str = "Truck", **way: float | bool) -> Actor:
        """A car, van or truck as often as the domain has them; `largest` "Car" allows only cars, "Van" no trucks."""
        draw, domain = self._generator.uniform(), self._domain
        is_truck = draw < domain.truck_share and largest == "Truck"
        is_van = not is_truck and draw < domain.truck_share + domain.van_share and largest != "Car"
        class_name = "Truck" if is_truck else "Van" if is_van else "Car"
        size = domain.sizes[class_name].draw(self._generator)
        shape = str(self._generator.choice(list(domain.bodies), p=np.array(list(domain.bodies.values()))))
        if is_truck:
            mesh = truck_mesh(size)
        elif is_van:
            mesh = car_mesh("van", size, SemanticClass.VAN, bool(self._generator.uniform() < 0.5))
        else:
            mesh = car_mesh(shape, size)
        return self._actor(class_name, size, rigid(mesh), s, d, turn, **way)

    def pedestrian(self, s: float, d: float, turn: float, is_walking: bool, **way: float) -> Actor:
        """A person on foot."""
        length, width, height = self._domain.sizes["Pedestrian"].draw(self._generator)
        size = (length if is_walking else 0.8 * length, max(width, 0.52), height)
        stride = STRIDE_M * self._generator.uniform(0.9, 1.1)
        return self._actor("Pedestrian", size, pedestrian(size, is_walking), s, d, turn, stride_m=stride, **way)

    def cyclist(self, s: float, d: float, turn: float, **way: float) -> Actor:
        """A person on a bicycle."""
        length, width, height = self._domain.sizes["Cyclist"].draw(self._generator)
        size = (length, max(width, 0.66), height)
        return self._actor("Cyclist", size, cyclist(size), s, d, turn, stride_m=5.0, **way)

    def _actor(
        self, class_name: str, size: Size, body: Swinging, s: float, d: float, turn: float, **way: float | bool
    ) -> Actor:
        self._count += 1
        phase = self._generator.uniform(0, 2 * np.pi)
        values: dict[str, float | bool] = {"sway_phase": phase, **way}
        body = lifted(body, SLACK_M)  # bodies leave room below them as on the other sides of their box
        return Actor(
            track_id=self._count, class_name=class_name, size_m=size, body=body, s_m=s, d_m=d, turn_rad=turn,
            **values,  # type: ignore[arg-type]
        )  # fmt: skip


def moving_vehicles(
    generator: np.random.Generator, populace: Populace, road: Road, kind: StreetKind, ego: Actor, span_s: float
) -> list[Actor]:
    """Vehicles on every lane; those on the ego's lane drive at its speed and keep clear of it."""
    found: list[Actor] = []
    headway = generator.uniform(*kind.headway_m)
    for direction in (1, -1):
        for lane in range(road.lanes):
            d = road.lane_offset_m(lane, direction)
            is_own = direction == 1 and lane == road.lanes - 1
            speed = ego.along_mps if is_own else generator.uniform(*kind.speed_mps)
            start = -speed * span_s if direction == 1 else 0.0
            stop = road.length_m if direction == 1 else road.length_m + speed * span_s
            found += _queue(generator, populace, (start, stop), d, direction, speed, headway)
    half = ego.size_m[0] / 2

    def keeps_clear(actor: Actor) -> bool:
        gap = abs(actor.s_m - ego.s_m) - half - actor.size_m[0] / 2 - 2 * actor.sway_m
        return abs(actor.d_m - ego.d_m) > 1 or gap > CLEAR_OF_EGO_M - 4

    return [actor for actor in found if keeps_clear(actor)]


def _queue(
    generator: np.random.Generator, populace: Populace, span: tuple[float, float], d: float, direction: int,
    speed: float, headway: float,
) -> list[Actor]:  # fmt: skip
    """Vehicles one behind the other on one lane; a vehicle sways less than its gap allows."""
    found = []
    s = span[0] + generator.exponential(headway)
    while s < span[1]:
        sway = generator.uniform(0, 1.5)
        actor = populace.vehicle(
            s, d + generator.normal() * 0.15, 0.0 if direction == 1 else np.pi,
            along_mps=direction * speed, sway_m=sway, sway_hz=generator.uniform(0.02, 0.1),
        )  # fmt: skip
        found.append(actor)
        s += actor.size_m[0] + 9.0 + generator.exponential(headway)
    return found


def waiting_vehicles(generator: np.random.Generator, populace: Populace, road: Road) -> list[Actor]:
    """Queues in the side streets, standing before the crossing or driving away from it."""
    found = []
    for crossing in road.crossings:
        for side in (1, -1):
            s = crossing.s_m + side * crossing.half_width_m / 2
            if generator.uniform() < 0.5:
                d = side * (road.half_width_m + 4.5)
                for _ in range(int(generator.integers(1, 4))):
                    actor = populace.vehicle(s, d, -side * np.pi / 2, is_parked=True)
                    # a long vehicle's nose would reach into the street, so each stands half its length back
                    found.append(replace(actor, d_m=d + side * actor.size_m[0] / 2))
                    d += side * (actor.size_m[0] + generator.uniform(1.5, 3.5))
            if generator.uniform() < 0.3:
                s = crossing.s_m - side * crossing.half_width_m / 2
                d = side * (road.half_width_m + generator.uniform(8, 30))
                found.append(populace.vehicle(s, d, side * np.pi / 2, "Van", across_mps=side * generator.uniform(2, 7)))
    return found


def parked_along(generator: np.random.Generator, populace: Populace, road: Road, share: float) -> list[Actor]:
    """Cars along both kerbs, in rows with gaps."""
    found: list[Actor] = []
    if not road.has_parking:
        return found
    for side in (1, -1):
        middle = side * (road.lanes * road.lane_m + PARKING_LANE_M / 2)
        s = 3.0
        while s < road.length_m - 5:
            if generator.uniform() > share or road.is_crossing([s - 8, s - 4, s, s + 4, s + 8]).any():
                s += generator.uniform(5.0, 7.0)
                continue
            turn = (0.0 if side < 0 else np.pi) + generator.normal() * 0.02
            turn += np.pi if generator.uniform() < 0.06 else 0
            actor = populace.vehicle(s, middle + generator.normal() * 0.08, turn, "Van", is_parked=True)
            half = actor.size_m[0] / 2  # `s` is where the vehicle before this one ended
            found.append(replace(actor, s_m=s + half))
            s += 2 * half + generator.uniform(0.7, 2.2)
    return found


def parking_lot(
    generator: np.random.Generator, populace: Populace, begin_m: float, end_m: float, front_m: float, side: int
) -> list[Actor]:
    """Cars side by side in up to three rows across, between s = begin and end, from `front_m` beside the line on."""
    found = []
    for row in range(int(generator.integers(1, 4))):
        d = side * (front_m + 3.0 + row * 8.5)
        share = generator.uniform(0.3, 0.95)
        for s in np.arange(begin_m + 1.6, end_m - 1.6, LOT_PITCH_M):
            if generator.uniform() < share:
                turn = np.pi / 2 * (1 if generator.uniform() < 0.5 else -1) + generator.normal() * 0.03
                found.append(populace.vehicle(float(s), d, turn, "Car", is_parked=True))
    return found


def people(
    generator: np.random.Generator, populace: Populace, road: Road, kind: StreetKind, share: float
) -> list[Actor]:
    """Pedestrians on the sidewalks and in zebra crossings, and `share` cyclists for each along the kerb."""
    found = []
    inner, outer = road.half_width_m + 0.9, road.half_width_m + max(road.sidewalk_m - 0.3, 1.1)
    for _ in range(generator.poisson(generator.uniform(*kind.people_per_100_m) * road.length_m / 100)):
        s, side = generator.uniform(0, road.length_m), float(generator.choice([-1, 1]))
        is_walking = bool(generator.uniform() < 0.75)
        direction = float(generator.choice([-1, 1]))
        speed = direction * generator.uniform(0.9, 1.7) if is_walking else 0.0
        turn = (0.0 if direction > 0 else np.pi) if is_walking else generator.uniform(-np.pi, np.pi)
        for friend in range(1 + int(generator.geometric(0.7) > 1)):
            d = side * generator.uniform(inner, outer)
            found.append(populace.pedestrian(s + 0.9 * friend, d, turn, is_walking, along_mps=speed))
            if generator.uniform() < share:
                found.append(_rider(generator, populace, road))
    for crossing in road.crossings:
        s = crossing.s_m + crossing.half_width_m + 2.5
        for _ in range(generator.poisson(0.5)):
            speed = float(generator.choice([-1, 1])) * generator.uniform(0.9, 1.6)
            d = generator.uniform(-road.half_width_m, road.half_width_m)
            turn = np.copysign(np.pi / 2, speed)
            found.append(populace.pedestrian(s + generator.normal() * 0.6, d, turn, True, across_mps=speed))
    return found


def _rider(generator: np.random.Generator, populace: Populace, road: Road) -> Actor:
    """A cyclist at the right edge of the road, or of the sidewalk."""
    direction = int(generator.choice([-1, 1]))
    edge = road.lanes * road.lane_m - 0.3 if generator.uniform() < 0.5 else road.half_width_m + 0.5
    speed = direction * generator.uniform(2.5, 6.5)
    s = generator.uniform(0, road.length_m)
    return populace.cyclist(s, -direction * edge, 0.0 if direction > 0 else np.pi, along_mps=speed)
