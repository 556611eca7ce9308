"""What all attacks of one audit work with: the vehicle, the scenes, and what each threat gives of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from server.audit.attack import Attack, Progress, Workbench
from server.audit.audit_config import AttackConfig, AuditConfig, Effort, VictimConfig
from server.audit.intervals import IntervalConfig
from server.audit.results import AuditFolder
from server.audit.scenes import (
    AuditedVehicle,
    SceneTruth,
    Victims,
    check_payloads,
    make_paired,
    make_victims,
    read_truths,
    scene_seed,
    view_of,
)
from server.audit.threat import Ability, PairedScene
from server.training.source_config import SourceConfig
from server.training.sources import Source, open_source, refuse_shared_frames
from shared_models.detectors.anchor_detector import AnchorDetector
from shared_models.errors import ConfigError

Tell = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One group of victims with what is known about it."""

    config: VictimConfig
    victims: Victims


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A published detector that is asked about, and one to compare it with."""

    detector: AnchorDetector | None = None
    reference: AnchorDetector | None = None


@dataclass(kw_only=True)
class Stage:
    """One audit's surroundings; scenes are read when they are first asked for.

    data: the server's data folder. tell: progress (what, done, total).
    """

    audit: AuditConfig
    effort: Effort
    vehicle: AuditedVehicle
    folder: AuditFolder
    data: Path
    device: str
    tell: Tell
    groups: tuple[Group, ...] = ()
    paired: tuple[PairedScene, ...] = ()
    _asked: dict[tuple[str, ...], Victims] = field(default_factory=dict)

    @property
    def intervals(self) -> IntervalConfig:
        """As the file says, with the effort's rounds."""
        return replace(self.audit.intervals, rounds=self.effort.rounds)

    def read_groups(self, present: Sequence[VictimConfig]) -> None:
        """Read all victims and the attacker's own scenes.

        Raises:
            ConfigError: too few scenes for an interval, or victims among the attacker's own scenes.
        """
        self.groups = tuple(self._group(config) for config in present)
        if any("paired" in threat.gives for threat in self.audit.threats):
            truths = self.read(self.own_source(), "attacker's scenes")
            self.paired = tuple(make_paired(self.vehicle, truths, self.audit.seed))

    def own_source(self) -> SourceConfig:
        """The attacker's own scenes."""
        return chosen(self.audit.attacker, self.effort.budget.scenes)

    def open(self, source: SourceConfig) -> Source:
        """Frames of a dataset, simulated ones kept on disk."""
        return open_source(source, self.data / "cache")

    def read(self, source: SourceConfig, what: str, first: int = 0) -> Iterator[SceneTruth]:
        """The scenes of a source, one by one. first: only so many, 0 all."""
        opened = self.open(source)
        frame_ids = opened.frame_ids[: first or None]
        for number, frame_id in enumerate(frame_ids):
            yield from read_truths(
                opened.dataset, [frame_id], self.vehicle.geometry, source.view, {"dataset": source.dataset}
            )
            self.tell(what, number + 1, len(frame_ids))

    def victims(self, source: SourceConfig, what: str, first: int = 0) -> Victims:
        """The scenes of a source with their payloads, made once for all that ask about them. first: as in `read`."""
        key = (what, repr(source), str(first))
        if key not in self._asked:
            made = make_victims(self.vehicle, self.read(source, what, first), self.audit.seed)
            check_payloads(made.payloads, self.vehicle)
            self._asked[key] = made
        return self._asked[key]

    def require_scenes(self, what: str, found: int) -> None:
        """There are enough for an interval.

        Raises:
            ConfigError: there are not.
        """
        if found < self.audit.intervals.fewest_scenes:
            raise ConfigError(
                f"{what}: {found} scenes are too few for an interval, expected at least "
                f"{self.audit.intervals.fewest_scenes} (intervals.fewest_scenes); add frames"
            )

    def prepare(
        self,
        attack: Attack,
        entry: AttackConfig,
        payloads: Sequence[bytes],
        paired: Sequence[PairedScene] | None = None,
        asked: Asked | None = None,
    ) -> float:
        """Let an attack learn what its threat gives of these payloads; the seconds that it took.

        paired: other own scenes than the audit's. asked: other detectors than the vehicle's.
        """
        started_s = time.perf_counter()
        threat = self.audit.threat_of(entry, self.effort)
        threat.require(entry.title, attack.required())
        asked = asked or Asked()
        # In no order that says anything: callers have them by truth, members first.
        order = np.random.default_rng(scene_seed(self.audit.seed, "order", entry.title)).permutation(len(payloads))
        view = view_of(
            threat,
            self.vehicle,
            [payloads[place] for place in order],
            self.paired if paired is None else paired,
            self.audit.seed,
            detector=asked.detector,
            reference=asked.reference,
        )
        bench = Workbench(
            seed=scene_seed(self.audit.seed, "attack", entry.title) % 2**31,
            device=self.device,
            folder=self.folder.work(entry.title),
            progress=self._told(f"{entry.title}: preparing"),
        )
        attack.prepare(view.restricted_to(attack.required() | attack.may_use), bench)
        return time.perf_counter() - started_s

    def _told(self, what: str) -> Progress:
        return lambda done, total: self.tell(what, done, total)

    def _group(self, config: VictimConfig) -> Group:
        source = chosen(config.frames, self.effort.victims)
        opened = self.open(source)
        if any(Ability.PAIRED in threat.gives for threat in self.audit.threats):
            own = self.open(self.own_source())
            refuse_shared_frames(own, opened, ("attacker", f"victims.{config.name}"), "attack other scenes")
        self.require_scenes(f"victims.{config.name}", len(opened.frame_ids))
        return Group(config=config, victims=self.victims(source, f"victims: {config.name}"))


def chosen(source: SourceConfig, most: int) -> SourceConfig:
    """The same frames, at most so many of them; 0 leaves the number open."""
    return replace(source, frames=min(source.frames or most, most) if most else source.frames)
