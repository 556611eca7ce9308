"""Curve files: a list of guards and codecs, each of which is trained with and audited.

name = "audit-curve"
checkpoint = ""                        # what every training starts from, and whose features are attacked
metrics = ["ap_all/loose/car/3d/moderate"]

[training]
base = "upcycling-simulated.toml"      # run file beside this one
change.loop.steps = 150

[audit]
base = "audit-quick.toml"              # audit file beside this one
change.quick.victims = 8

[[cells]]
name = "noise, epsilon 100"
guard = "noise,epsilon=100.0"
codec = "float16"
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from server.audit.audit_config import AuditConfig, parse_audit
from server.audit.curve.curve_file import START
from server.training.experiment import METRIC, Variant, require_evaluated, without_key
from server.training.run_config import RunConfig, changed, merged_tables, parse_run, read_table
from shared_models import codecs, guards
from shared_models.configuration import from_dict, to_dict
from shared_models.errors import ConfigError, InvalidValueError
from shared_models.records import check


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveCell:
    """One point of the curve. guard: as `shared_models.guards.build` takes it. codec: as in `shared_models.codecs`."""

    name: str
    guard: str = "none"
    codec: str = "float16"

    def __post_init__(self) -> None:
        check.name("CurveCell", "name", self.name, 60)
        guards.build(self.guard)
        codecs.build(self.codec)

    @property
    def described_guard(self) -> str:
        """The guard with all its settings."""
        return guards.build(self.guard).described()


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPart:
    """base: run file of recipe upcycling, beside the curve's file. change: what differs from it, as nested tables."""

    base: str = "upcycling-simulated.toml"
    change: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditPart:
    """base: audit file beside the curve's file. change: what differs from it; lists are replaced as a whole.

    effort: which of the audit's two sizes.
    """

    base: str = "audit-quick.toml"
    change: dict[str, Any] = field(default_factory=dict)
    effort: Literal["quick", "full"] = "quick"


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveConfig:
    """A leakage-utility curve.

    name: for people. seed: of every training and every audit, so that cells differ by guard and codec only.
    checkpoint: folder of the checkpoint that every training starts from and whose features are attacked.
    metrics: AP after training, named as in experiments; the first one is drawn.
    measures: of the attacks' reconstructions, named as in reports; the first two are drawn.
    rounds: draws of the evaluated frames for the interval of an AP.
    controls: trainings without any stored feature, for comparison; `starts_from` stays empty.
    """

    name: str = "audit-curve"
    seed: int = 1
    checkpoint: str = ""
    metrics: tuple[str, ...] = ("ap_all/loose/car/3d/moderate",)
    measures: tuple[str, ...] = (
        "f_score_0.2m",
        "above_ground/f_score_0.2m",
        "class/Car/f_score_0.2m",
        "verbatim_share",
    )
    rounds: int = 200
    training: TrainingPart = TrainingPart()
    audit: AuditPart = AuditPart()
    controls: tuple[Variant, ...] = ()
    cells: tuple[CurveCell, ...] = (CurveCell(name="none"),)

    def __post_init__(self) -> None:
        check.name("CurveConfig", "name", self.name, 40)
        check.count("CurveConfig", "seed", self.seed, 2**32 - 1, 0)
        check.count("CurveConfig", "rounds", self.rounds, 10**6, 2)
        check.distinct_names("CurveConfig", "cells", tuple(cell.name for cell in self.cells), 256)
        if not self.measures or len(set(self.measures)) != len(self.measures):
            raise InvalidValueError(f"CurveConfig.measures: expected different names, got {self.measures}")
        wrong = [metric for metric in self.metrics if METRIC.fullmatch(metric) is None]
        if wrong or not self.metrics:
            raise InvalidValueError(
                f"CurveConfig.metrics: expected names as ap_all/strict/car/3d/moderate, got {wrong or 'none'}"
            )
        names = [START, *(cell.name for cell in self.cells), *(control.name for control in self.controls)]
        if len(set(names)) != len(names) or any(control.starts_from for control in self.controls):
            raise InvalidValueError(
                "CurveConfig.controls: expected names that no cell has, and none that starts from another, got "
                f"{[control.name for control in self.controls]} beside the cells {[cell.name for cell in self.cells]}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A curve's file with the tables of its two base files, the changes applied."""

    config: CurveConfig
    run_table: Mapping[str, Any]
    audit_table: Mapping[str, Any]

    def run(self, cell: CurveCell) -> RunConfig:
        """The training of a cell.

        Raises:
            ConfigError, UnknownNameError: as `parse_run`, or it is not UpCycling.
        """
        store = {"codec": cell.codec, "guard": cell.described_guard}
        run = self._run(merged_tables(self.run_table, {"settings": {"store": store}}), cell.name)
        if run.recipe != "upcycling" or run.data.unlabelled is None or run.settings["store"]["vehicle_id"]:
            raise ConfigError(
                f"{self.config.training.base}: the curve needs recipe upcycling, data.unlabelled, and no "
                "settings.store.vehicle_id"
            )
        return run

    def control(self, control: Variant) -> RunConfig:
        """The training of a control. Raises as `run`."""
        table = merged_tables(self.run_table, control.change)
        for key in control.without:
            table = without_key(table, key, f"control {control.name}")
        return self._run(table, control.name)

    def _run(self, table: Mapping[str, Any], name: str) -> RunConfig:
        config = self.config
        whole = {**table, "name": slug(f"{config.name}-{name}"), "seed": config.seed}
        if config.checkpoint:  # which brings the detector's configuration with it
            whole["detector"] = {**table.get("detector", {}), "checkpoint": config.checkpoint, "override": {}}
        run = parse_run(whole, f"{config.training.base}, {name}")
        require_evaluated(run, config.metrics, f"{config.training.base}, {name}")
        return run

    def audit(self, cell: CurveCell) -> AuditConfig:
        """The audit of a cell: its attackers are trained on payloads that went through its guard and codec.

        Raises:
            ConfigError, UnknownNameError: as `parse_audit`.
        """
        config = self.config
        fixed = {
            "name": slug(f"{config.name}-{cell.name}"),
            "seed": config.seed,
            "detector": {"checkpoint": config.checkpoint},
            "upload": {"guard": cell.described_guard, "codec": cell.codec},
        }
        return parse_audit(merged_tables(self.audit_table, fixed), f"{config.audit.base}, {cell.name}")

    @property
    def curve_id(self) -> str:
        """Name of its folder: another checkpoint, base or change is another curve; more cells are not."""
        parts = {
            **to_dict(self.config),
            "run": self.run_table,
            "audit": self.audit_table,
            "cells": (),
            "controls": (),
        }
        digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
        return f"{self.config.name}-{digest[:10]}"


def load_curve(path: Path, changes: Iterable[str] = ()) -> Curve:
    """The curve in a TOML file, with `changes` ("training.change.loop.steps=20") applied; every cell is looked at.

    Raises:
        ConfigError: a file cannot be read, a key is unknown or a value wrong.
        UnknownNameError: a guard, codec or attack that does not exist.
    """
    try:
        config = from_dict(CurveConfig, changed(read_table(path), changes))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    curve = Curve(
        config=config,
        run_table=merged_tables(read_table(path.parent / config.training.base), config.training.change),
        audit_table=merged_tables(read_table(path.parent / config.audit.base), config.audit.change),
    )
    for cell in config.cells:  # every mistake shows before the first hour of training
        curve.run(cell)
        curve.audit(cell)
    for control in config.controls:
        curve.control(control)
    return curve


def slug(name: str) -> str:
    """A name that is good for folders, at most 60 letters long."""
    words = "".join(letter if letter.isalnum() or letter == "." else " " for letter in name).split()
    return "-".join(words)[:60]
