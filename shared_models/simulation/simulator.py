"""Frames of simulated drives: the world, the sensors and the labels put together."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from shared_models.errors import ConfigError, UnknownNameError
from shared_models.records import CameraImage, Frame
from shared_models.simulation.annotate import Objects, Policy, annotate, upright_boxes, vertices_of
from shared_models.simulation.camera import photograph
from shared_models.simulation.domains import domain_of
from shared_models.simulation.drive import Drive, make_drive
from shared_models.simulation.lidar import Scan, make_rays, scan
from shared_models.simulation.lights import make_lights
from shared_models.simulation.materials import SEMANTIC_NAMES
from shared_models.simulation.mesh import Mesh, spans
from shared_models.simulation.raycast import RayScene
from shared_models.simulation.seeds import generator
from shared_models.simulation.sensors import sensor_of, weather_of
from shared_models.simulation.traffic import places
from shared_models.simulation.viewpoint import is_in_view, make_camera, visible_pulses

Floats = NDArray[np.float64]

FOVS: Final = ("camera", "full")
EPOCH_NS: Final = 1_700_000_000_000_000_000
DRIVE_APART_NS: Final = 3_600_000_000_000
DRIVES_KEPT: Final = 2
LARGEST: Final = 9999


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedConfig:
    """What is simulated.

    domain: "germany" or "usa".
    sensor: "kitti", "waymo" or "lyft".
    weather: "clear", "rain" or "night".
    drives: number of streets, each driven along `visits` times.
    visits: drives along each street, with other traffic, other parked cars and a slightly other way each time.
    frames_per_drive: frames of each.
    frame_interval_s: time from frame to frame, seconds.
    seed: everything follows from it.
    fov: "camera" keeps what the camera sees, as KITTI's reduced scans; "full" keeps the whole turn.
    min_points: objects with fewer points are not labelled.
    image: whether frames have a camera image, which takes longer than the scan.
    """

    domain: str = "germany"
    sensor: str = "kitti"
    weather: str = "clear"
    drives: int = 10
    visits: int = 1
    frames_per_drive: int = 20
    frame_interval_s: float = 0.5
    seed: int = 0
    fov: str = "camera"
    min_points: int = 5
    image: bool = False

    def __post_init__(self) -> None:
        try:
            domain_of(self.domain), sensor_of(self.sensor), weather_of(self.weather)
        except UnknownNameError as error:
            raise ConfigError(f"SimulatedConfig: {error}") from error
        if self.fov not in FOVS:
            raise ConfigError(f"SimulatedConfig.fov: expected one of {', '.join(FOVS)}, got {self.fov!r}")
        for field, least, most in (
            ("drives", 1, LARGEST), ("visits", 1, 99), ("frames_per_drive", 1, LARGEST), ("seed", 0, 2**63 - 1),
            ("min_points", 1, 1000),
        ):  # fmt: skip
            if not least <= getattr(self, field) <= most:
                raise ConfigError(f"SimulatedConfig.{field}: expected {least} to {most}, got {getattr(self, field)}")
        if not 0.01 <= self.frame_interval_s <= 10:
            raise ConfigError(
                f"SimulatedConfig.frame_interval_s: expected 0.01 to 10 seconds, got {self.frame_interval_s}"
            )
        if self.frames_per_drive * self.frame_interval_s > 600:
            raise ConfigError(
                "SimulatedConfig: a drive lasts at most 600 seconds; take fewer frames or a shorter interval"
            )


class Simulator:
    """Makes the frames of one configuration, in any order; keeps the last drives, since their worlds take longest."""

    def __init__(self, config: SimulatedConfig) -> None:
        self.config = config
        self._domain, self._sensor = domain_of(config.domain), sensor_of(config.sensor)
        self._weather = weather_of(config.weather)
        self.camera = make_camera(self._sensor)
        self._pulses = visible_pulses(self._sensor, self.camera) if config.fov == "camera" else None
        self._drives: OrderedDict[tuple[int, int], Drive] = OrderedDict()

    def drive(self, number: int, visit: int = 0) -> Drive:
        """The world of this drive along the street of this number."""
        key = (number, visit)
        if key not in self._drives:
            duration_s = self.config.frames_per_drive * self.config.frame_interval_s
            self._drives[key] = make_drive(self.config.seed, self._domain, number, duration_s, visit)
        self._drives.move_to_end(key)
        while len(self._drives) > DRIVES_KEPT:
            self._drives.popitem(last=False)
        return self._drives[key]

    def frame(self, frame_id: str, drive_number: int, index: int, visit: int = 0) -> Frame:
        """Frame `index` of a drive, under the name `frame_id`."""
        config, sensor = self.config, self._sensor
        drive, time_s = self.drive(drive_number, visit), index * config.frame_interval_s
        world_from_lidar = self._pose(drive, time_s)
        velocity, yaw_rate = self._motion(drive, time_s, world_from_lidar)
        rays = make_rays(sensor, velocity, yaw_rate, self._pulses)
        seen, moving = drive.moving_at(time_s, sensor.turn_s, is_ahead_only=config.fov == "camera" and not config.image)
        scenes = (drive.scene, RayScene(moving))
        again = (visit,) if visit else ()
        path = (config.domain, config.sensor, config.weather, drive_number, index, "scan", *again)
        stream = generator(config.seed, *path)
        found = scan(scenes, rays, world_from_lidar, sensor, self._weather, stream)
        if config.fov == "camera":
            found = _only(found, is_in_view(found.points[:, :3], self.camera))
        parked = places(drive.road, drive.parked, 0.0)
        boxes = [upright_boxes(a, p, world_from_lidar) for a, p in ((drive.parked, parked), (drive.moving, seen))]
        owned = np.unique(found.instance)
        objects = _objects(drive, np.concatenate(boxes), owned, moving, world_from_lidar)
        policy = Policy(min_points=config.min_points, range_m=sensor.label_range_m)
        labels = annotate(objects, rays, found, self.camera, config.fov == "camera", policy)
        return Frame(
            frame_id=frame_id,
            timestamp_ns=EPOCH_NS + (visit * config.drives + drive_number) * DRIVE_APART_NS + round(time_s * 1e9),
            points=found.points,
            labels=labels,
            camera=self.camera,
            world_from_lidar=world_from_lidar,
            semantic=found.semantic,
            semantic_names=SEMANTIC_NAMES,
            instance=found.instance,
            image=self._image(drive, drive_number, index, scenes, world_from_lidar) if config.image else None,
        )

    def _image(
        self, drive: Drive, number: int, index: int, scenes: tuple[RayScene, ...], world_from_lidar: Floats
    ) -> CameraImage:
        config, time_s = self.config, index * self.config.frame_interval_s
        sky = generator(config.seed, config.domain, number, "sun")
        ego_s_m = float(places(drive.road, [drive.ego], time_s).s_m[0])
        lights = make_lights(sky, drive.road, drive.ego_pose(time_s), ego_s_m, self._weather)
        grain = generator(config.seed, config.domain, config.sensor, config.weather, number, index, "image")
        return photograph(scenes, self.camera, world_from_lidar, lights, grain)

    def _pose(self, drive: Drive, time_s: float) -> Floats:
        lift = np.eye(4)
        lift[2, 3] = self._sensor.origin_above_ground_m
        return drive.ego_pose(time_s) @ lift

    def _motion(self, drive: Drive, time_s: float, world_from_lidar: Floats) -> tuple[Floats, float]:
        """Velocity in the LiDAR frame and yaw rate, from the poses half a turn before and after."""
        turn_s = self._sensor.turn_s
        before, after = (self._pose(drive, time_s + half * turn_s) for half in (-0.5, 0.5))
        velocity = (after[:3, 3] - before[:3, 3]) @ world_from_lidar[:3, :3] / turn_s
        turned = before[:3, :3].T @ after[:3, :3]
        return velocity, float(np.arctan2(turned[1, 0], turned[0, 0])) / turn_s


def _only(found: Scan, kept: NDArray[np.bool_]) -> Scan:
    return Scan(
        points=np.ascontiguousarray(found.points[kept]),
        semantic=found.semantic[kept],
        instance=found.instance[kept],
        ray=found.ray[kept],
        reach_m=found.reach_m,
    )


def _objects(drive: Drive, boxes: Floats, owned: NDArray[np.int32], moving: Mesh, world_from_lidar: Floats) -> Objects:
    """The objects that have points; `boxes` are those of all parked and then all moving ones."""
    actors = (*drive.parked, *drive.moving)
    ids = set(owned.tolist())
    wanted = [k for k, actor in enumerate(actors) if actor.track_id in ids]
    now = spans(moving)
    vertices = [
        vertices_of(actor.track_id, drive.scene.mesh, drive.parked_spans, world_from_lidar)
        if actor.is_parked
        else vertices_of(actor.track_id, moving, now, world_from_lidar)
        for actor in (actors[k] for k in wanted)
    ]
    return Objects(
        actors=tuple(actors[k] for k in wanted), boxes=boxes[wanted].reshape(-1, 7), vertices=tuple(vertices)
    )
