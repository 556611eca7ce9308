"""What the whole demonstration does; every value can be changed with `upcycle demo --set KEY=VALUE`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from shared_models.errors import InvalidValueError
from shared_models.records import check

EXACT = "float32"


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoConfig:
    """The whole demonstration; the defaults are made for two processor cores and ten minutes at most.

    seed: of weights, orders, augmentation, attacks and draws.
    setting: the detector's size. override: fields of its configuration that differ, as nested tables.
    source: simulated drives with labels, which the fleet's checkpoint learns from.
    target: the simulated city in which the fleet drives and that is evaluated; without drives and seed.
    size_change_m: (length, width, height) per class, metres, target mean - source mean: labelled objects are resized by
        it (statistical normalisation). The default is that of the two simulated cities' cars.
    vehicles: how many. drives, frames_per_drive: of each. fleet_seed: of the first vehicle's streets; the next ones
        follow.
    codec, guard: of the scans that are learned from and audited. The same scans are sent as float32 as well, to compare
        what both sides detect.
    held_out_drives, held_out_frames_per_drive, held_out_seed: the drives in the target city that AP is measured on.
    attacker_drives, attacker_seed: drives of ten frames in the target city that are the attacker's own.
    batch_size: labelled scans of a step. unlabelled_ratio: uploaded scenes for each of them.
    pretraining_steps, pretraining_rate: of the fleet's checkpoint: steps, and learning rate at the top of the cycle.
    adaptation_steps, adaptation_rate: the same of UpCycling and of its control.
    threads: processor threads of the pre-training, at most one for each core; UpCycling and its control run side by
        side on half of them each.
    with_control: train UpCycling with unlabelled scans of the source city in the place of the fleet's, for comparison.
    own: those scans: other drives of the source city than `source`.
    rounds: draws of the frames for intervals of AP.
    audited_scans: of each vehicle. attack_steps, attack_s, attack_scans: what each attack may spend.
    recipe: settings of the recipe upcycling that differ from its defaults, as nested tables.
    """

    seed: int = 1
    setting: str = "tiny"
    override: dict[str, Any] = field(default_factory=dict)
    source: str = "simulated,domain=usa,sensor=kitti,drives=16,frames_per_drive=10,seed=1"
    target: str = "simulated,domain=germany,sensor=kitti"
    size_change_m: tuple[tuple[float, float, float], ...] = ((-0.91, -0.49, -0.26),)
    vehicles: int = 2
    drives: int = 5
    frames_per_drive: int = 10
    fleet_seed: int = 100
    codec: str = "float16"
    guard: str = "none"
    held_out_drives: int = 16
    held_out_frames_per_drive: int = 5
    held_out_seed: int = 7
    attacker_drives: int = 4
    attacker_seed: int = 8
    batch_size: int = 4
    unlabelled_ratio: int = 1
    pretraining_steps: int = 280
    pretraining_rate: float = 0.003
    adaptation_steps: int = 150
    adaptation_rate: float = 0.001
    threads: int = 2
    with_control: bool = True
    own: str = "simulated,domain=usa,sensor=kitti,drives=10,frames_per_drive=10,seed=2"
    rounds: int = 200
    audited_scans: int = 5
    attack_steps: int = 80
    attack_s: float = 120.0
    attack_scans: int = 30
    recipe: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check.count("DemoConfig", "seed", self.seed, 2**32 - 1, 0)
        for name in ("vehicles", "drives", "frames_per_drive", "held_out_drives", "held_out_frames_per_drive",
                     "attacker_drives", "batch_size", "unlabelled_ratio", "pretraining_steps", "adaptation_steps",
                     "threads", "audited_scans", "attack_steps", "attack_scans"):  # fmt: skip
            check.count("DemoConfig", name, getattr(self, name), 10_000)
        for name in ("fleet_seed", "held_out_seed", "attacker_seed"):
            check.count("DemoConfig", name, getattr(self, name), 2**62, 0)
        check.count("DemoConfig", "rounds", self.rounds, 100_000, 2)
        for name in ("source", "target", "own"):
            if getattr(self, name).partition(",")[0] != "simulated":
                raise InvalidValueError(f"DemoConfig.{name}: expected simulated drives, got {getattr(self, name)!r}")
        seeds = {self.held_out_seed, self.attacker_seed, *(self.fleet_seed + n for n in range(self.vehicles))}
        if len(seeds) != self.vehicles + 2:
            raise InvalidValueError("DemoConfig: fleet, held-out drives and attacker need seeds of their own")

    @property
    def worlds(self) -> tuple[str, ...]:
        """What each vehicle drives through, as `--dataset` takes it."""
        size = f"drives={self.drives},frames_per_drive={self.frames_per_drive}"
        return tuple(f"{self.target},{size},seed={self.fleet_seed + number}" for number in range(self.vehicles))

    @property
    def held_out(self) -> str:
        """The drives that AP is measured on."""
        size = f"drives={self.held_out_drives},frames_per_drive={self.held_out_frames_per_drive}"
        return f"{self.target},{size},seed={self.held_out_seed}"

    @property
    def attackers(self) -> str:
        """The attacker's own drives."""
        return f"{self.target},drives={self.attacker_drives},frames_per_drive=10,seed={self.attacker_seed}"

    @property
    def codecs(self) -> tuple[str, ...]:
        """What each scan is sent with."""
        return tuple(dict.fromkeys((EXACT, self.codec)))
