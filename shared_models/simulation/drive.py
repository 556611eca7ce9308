"""One drive: a street with everything on it, and the scene at each of its moments."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from shared_models.simulation.domains import Domain
from shared_models.simulation.mesh import Mesh, joined, pose, spans
from shared_models.simulation.people import swung
from shared_models.simulation.raycast import RayScene
from shared_models.simulation.roads import Road, make_road, road_mesh
from shared_models.simulation.roadside import roadside
from shared_models.simulation.seeds import generator
from shared_models.simulation.traffic import (
    Actor,
    Places,
    Populace,
    moving_vehicles,
    parked_along,
    people,
    places,
    waiting_vehicles,
)

Floats = NDArray[np.float64]

SIGHT_M: Final = 130.0  # of street before the first and beyond the last place of the ego vehicle
SCENE_RADIUS_M: Final = 105.0  # moving objects further away than this are left out
LATER_START_M: Final = 10.0  # so far at most beyond the first drive's beginning a later visit begins
LATER_ASIDE_M: Final = 0.4  # and so far to either side of its line it drives
LATER_SPEED: Final = (0.7, 1.0)  # of its speed
BEHIND_M: Final = 10.0  # so much behind the ego vehicle an object may still reach into the camera's view


@dataclass(frozen=True, slots=True, kw_only=True)
class Drive:
    """The world of one drive.

    scene: everything that never moves, ready for rays.
    parked, moving: the objects; parked ones are part of `scene`, where `parked_spans` tells their triangles.
    ego: the vehicle that carries the sensors; it is no part of what they see.
    hull: all moving bodies in one mesh, each in its own frame; `owner` gives each triangle's index in `moving`, and
        `swing` how it swings.
    """

    road: Road
    scene: RayScene
    parked: tuple[Actor, ...]
    parked_spans: dict[int, tuple[int, int]]
    moving: tuple[Actor, ...]
    ego: Actor
    hull: Mesh
    owner: NDArray[np.int64]
    swing: NDArray[np.float32]

    def ego_pose(self, time_s: float) -> Floats:
        """(4, 4) world from vehicle: origin on the ground under the vehicle, x forward, z up."""
        place = places(self.road, [self.ego], time_s)
        jolt = (
            np.sin(2 * np.pi * np.array([0.7, 1.1]) * time_s + [self.ego.sway_phase, 2 * self.ego.sway_phase]) * 0.004
        )
        leaning = pose(place.x[0], place.y[0], place.z[0], place.yaw_rad[0], place.pitch_rad[0] + jolt[0])
        roll = np.eye(4)
        roll[1:3, 1:3] = [[np.cos(jolt[1]), -np.sin(jolt[1])], [np.sin(jolt[1]), np.cos(jolt[1])]]
        turned: Floats = leaning @ roll
        return turned

    def moving_at(self, time_s: float, turn_s: float, is_ahead_only: bool = False) -> tuple[Places, Mesh]:
        """Where the moving objects are and their triangles, each at the time that the turning LiDAR looks at it.

        The LiDAR looks ahead at `time_s` and turns clockwise once in `turn_s`. Triangles of far objects, and with
        `is_ahead_only` of those behind the ego vehicle, are left out.
        """
        now = places(self.road, self.moving, time_s)
        delay = _delay_s(self.ego_pose(time_s), now.positions(), turn_s)
        seen = places(self.road, self.moving, time_s + delay)
        near = self._is_near(seen, time_s, is_ahead_only)
        kept = near[self.owner]
        owner = self.owner[kept]
        local = swung(self.hull.corners[kept], self.swing[kept], seen.phase_rad[owner])
        rotations = seen.rotations().astype(np.float32)[owner]
        corners = np.einsum("tij,tkj->tki", rotations, local) + seen.positions().astype(np.float32)[owner][:, None]
        hull = self.hull
        mesh = Mesh(
            corners=corners,
            material=hull.material[kept],
            semantic=hull.semantic[kept],
            instance=hull.instance[kept],
        )
        return seen, mesh

    def _is_near(self, seen: Places, time_s: float, is_ahead_only: bool) -> NDArray[np.bool_]:
        ego = self.ego_pose(time_s)
        x, y, _ = ((seen.positions() - ego[:3, 3]) @ ego[:3, :3]).T
        near: NDArray[np.bool_] = np.hypot(x, y) < SCENE_RADIUS_M
        if is_ahead_only:
            near &= x > -BEHIND_M
        return near & (seen.s_m > 0) & (seen.s_m < self.road.length_m)


def _delay_s(ego: Floats, positions: Floats, turn_s: float) -> Floats:
    """When, after it looked ahead, a LiDAR at `ego` that turns clockwise looks at each of the positions."""
    local = (positions - ego[:3, 3]) @ ego[:3, :3]
    delay: Floats = -np.arctan2(local[:, 1], local[:, 0]) / (2 * np.pi) * turn_s
    return delay


def make_drive(seed: int, domain: Domain, number: int, duration_s: float, visit: int = 0) -> Drive:
    """The drive of this number; the same arguments give the same world, whatever sensor then looks at it.

    visit: 0 is the first drive along the street. Later ones find the same ground, houses and trees, but other parked
        cars, other traffic and other people, and drive slower, from another place and beside the first one's line.
    """

    def stream(purpose: str) -> np.random.Generator:
        return generator(seed, domain.name, number, purpose)

    def passing(purpose: str) -> np.random.Generator:
        return generator(seed, domain.name, number, purpose, visit) if visit else stream(purpose)

    draw = stream("street")
    shares = np.array([street.share for street in domain.streets])
    kind = domain.streets[int(draw.choice(len(shares), p=shares / shares.sum()))]
    speed = draw.uniform(*kind.speed_mps)
    if draw.uniform() < 0.1:
        speed = 0.0
    road = make_road(draw, kind, 2 * SIGHT_M + speed * duration_s + 20)
    populace = Populace(passing("bodies"), domain)
    ego = _ego(populace, road, speed)
    if visit:
        ego = _elsewhere(passing("ego"), ego)
    beside, lot_cars = roadside(stream("roadside"), populace, road, kind)
    ground = road_mesh(stream("ground"), road)
    parked = parked_along(passing("parked"), populace, road, draw.uniform(*kind.parking_share)) + lot_cars
    moving = moving_vehicles(passing("traffic"), populace, road, kind, ego, duration_s)
    moving += waiting_vehicles(passing("crossings"), populace, road)
    moving += people(passing("people"), populace, road, kind, domain.cyclist_share)
    return _assembled(road, joined([ground, beside]), parked, moving, ego)


def _ego(populace: Populace, road: Road, speed: float) -> Actor:
    d = road.lane_offset_m(road.lanes - 1, 1)
    return replace(populace.vehicle(SIGHT_M, d, 0.0, "Car"), along_mps=speed)


def _elsewhere(generator: np.random.Generator, ego: Actor) -> Actor:
    """The ego vehicle of a later visit; it stays on the street, which is as long as the first drive needs."""
    return replace(
        ego,
        s_m=ego.s_m + generator.uniform(0.0, LATER_START_M),
        d_m=ego.d_m + generator.uniform(-LATER_ASIDE_M, LATER_ASIDE_M),
        along_mps=ego.along_mps * generator.uniform(*LATER_SPEED),
    )


def _assembled(road: Road, surroundings: Mesh, parked: list[Actor], others: list[Actor], ego: Actor) -> Drive:
    parked = parked + [actor for actor in others if actor.is_parked]
    moving = [actor for actor in others if not actor.is_parked]
    standing = places(road, parked, 0.0)
    fixed = [surroundings]
    for index, actor in enumerate(parked):
        there = pose(
            *(float(v[index]) for v in (standing.x, standing.y, standing.z, standing.yaw_rad, standing.pitch_rad))
        )
        fixed.append(actor.body.mesh.placed(there).of_instance(actor.track_id))
    hulls = [actor.body.mesh.of_instance(actor.track_id) for actor in moving]
    swings = [actor.body.swing for actor in moving]
    scene = RayScene(joined(fixed))
    return Drive(
        road=road,
        scene=scene,
        parked=tuple(parked),
        parked_spans=spans(scene.mesh),
        moving=tuple(moving),
        ego=ego,
        hull=joined(hulls),
        owner=np.repeat(np.arange(len(moving)), [len(hull) for hull in hulls]),
        swing=np.concatenate([np.zeros((0, 4), dtype=np.float32), *swings]),
    )
