"""A leakage-utility curve, cell by cell: train with a guard and a codec, evaluate, attack what they let through."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from server.audit.audit_config import AuditConfig, config_hash
from server.audit.curve.curve_config import Curve, CurveCell
from server.audit.curve.curve_file import CURVE_SCHEMA, START, CurveFolder
from server.audit.curve.leakage import CEILING, FLOOR, bounds_of, decisions_of, leakage_of
from server.audit.report import code_sha256
from server.audit.runner import AuditRun
from server.audit.stage import Tell
from server.evaluation.bootstrap import BootstrapConfig, bootstrap
from server.evaluation.run_evaluation import RunEvaluation, RunEvaluationConfig
from server.repositories.archive import open_archive
from server.repositories.repository import SceneFilter
from server.training.atomic_files import write_whole
from server.training.run_config import RunConfig, run_text
from server.training.run_folder import RunFolder
from server.training.sources import fleet_id, open_source
from shared_models.checkpoints import open_checkpoint, read_manifest
from shared_models.errors import ConfigError, UpcycleError
from shared_models.sparse import create_engine
from upcycle import training_session

Numbers = dict[str, Any]
Say = Callable[[str], None]


class CurveSession:
    """One curve. What finished in a former call, with the same files and checkpoint, is not made again.

    failures: by name, why a cell could not be made in this call.
    """

    def __init__(self, curve: Curve, data: Path, *, device: str = "cpu", tell: Tell, say: Say) -> None:
        """data: the server's data folder. device: of the attacks. tell: progress of a part. say: one line.

        Raises:
            ConfigError, CheckpointError: there is no checkpoint to start from.
        """
        if not curve.config.checkpoint:
            raise ConfigError("a curve needs a checkpoint that its trainings start from: give --checkpoint DIR")
        self._curve, self._data, self._device, self._tell, self._say = curve, data, device, tell, say
        self._manifest = read_manifest(Path(curve.config.checkpoint))
        self.folder = CurveFolder(data, curve.curve_id)
        self.failures: dict[str, str] = {}

    def fill(self, only: Sequence[str] = ()) -> None:
        """Make what is missing: the start, the controls, then the cells; of those, only the named ones.

        A cell that fails is named in `failures`, and the next one is made.

        Raises:
            ConfigError: there is no cell of that name.
            UpcycleError: the starting checkpoint cannot be evaluated.
            KeyboardInterrupt: a signal stopped a training; the same call goes on with it.
        """
        config = self._curve.config
        unknown = sorted(set(only) - {cell.name for cell in config.cells})
        if unknown:
            raise ConfigError(f"--only {unknown[0]}: no such cell; known: {[cell.name for cell in config.cells]}")
        self._made(START, self._start_identity(), self._start)
        for control in config.controls:
            run = self._curve.control(control)
            self._tried(control.name, self._identity(run), partial(self._trained, run))
        for cell in config.cells:
            if not only or cell.name in only:
                self._tried(cell.name, self._cell_identity(cell), partial(self._cell, cell))

    def table(self) -> Numbers:
        """All that is finished, as docs/audit-curve.schema.json describes it."""
        config, curve = self._curve.config, self._curve
        found = {cell.name: self.folder.finished(cell.name, self._cell_identity(cell)) for cell in config.cells}
        first = next((numbers for numbers in found.values() if numbers is not None), None)
        start = self.folder.finished(START, self._start_identity())
        controls = [
            {"name": each.name, "ap": numbers["ap"]}
            for each in config.controls
            if (numbers := self.folder.finished(each.name, self._identity(curve.control(each)))) is not None
        ]
        return {
            "schema": CURVE_SCHEMA,
            "name": config.name,
            "made_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "seed": config.seed,
            "scope": {
                "detector": self._manifest.detector,
                "checkpoint": Path(config.checkpoint).name,
                "model_sha256": self._manifest.model_sha256,
                "backbone_hash": self._manifest.backbone_hash,
                "split_layer": curve.audit(config.cells[0]).upload.split_layer,
            },
            "training": self._about_training(start),
            "audit": {"audit_file": config.audit.base, "effort": config.audit.effort, **_shared(first, "audit")},
            "measures": list(config.measures),
            "start": {} if start is None else start["ap"],
            "controls": controls,
            "floors": _shared(first, "floors"),
            "ceilings": _shared(first, "ceilings"),
            "cells": [self._row(cell, found[cell.name]) for cell in config.cells],
        }

    def _row(self, cell: CurveCell, numbers: Numbers | None) -> Numbers:
        row: Numbers = {"name": cell.name, "guard": cell.described_guard, "codec": cell.codec}
        if numbers is None:
            error = self.failures.get(cell.name, "")
            return row | {"state": "failed" if error else "missing", "error": error}
        return row | {"state": "finished", "error": ""} | {k: v for k, v in numbers.items() if k not in _SHARED}

    def _about_training(self, start: Numbers | None) -> Numbers:
        config = self._curve.config
        run = self._curve.run(config.cells[0])
        assert run.data.evaluation is not None
        dataset = run.data.evaluation.dataset
        return {
            "run_file": config.training.base,
            "steps": run.loop.steps,
            "epochs": run.loop.epochs,
            "labelled": len(open_source(run.data.labelled, self._data / "cache").frame_ids),
            "unlabelled": len(open_source(run.data.unlabelled, self._data / "cache", with_labels=False).frame_ids)
            if run.data.unlabelled is not None
            else 0,
            "evaluation": {
                "dataset": dataset,
                "frames": 0 if start is None else start["frames"],
                "is_simulated": dataset.startswith("simulated"),
            },
            "metrics": list(config.metrics),
        }

    def _tried(self, name: str, identity: str, make: Callable[[], Numbers]) -> None:
        try:
            self._made(name, identity, make)
        except UpcycleError as error:
            self.failures[name] = f"{type(error).__name__}: {error}"
            self._say(f"{name}: {error}")

    def _made(self, name: str, identity: str, make: Callable[[], Numbers]) -> None:
        if self.folder.finished(name, identity) is not None:
            return
        self._say(f"{name}: begins")
        started_s = time.monotonic()
        numbers = make()
        seconds = round(time.monotonic() - started_s, 1)
        self.folder.keep(name, identity, numbers | {"seconds": seconds})
        self._say(f"{name}: finished after {seconds:.0f} s")

    def _start(self) -> Numbers:
        run = self._curve.run(self._curve.config.cells[0])
        return self._evaluated(run, Path(self._curve.config.checkpoint))

    def _cell(self, cell: CurveCell) -> Numbers:
        config = self._curve.config
        run = self._curve.run(cell)
        trained = self._trained(run)
        report = self._audited(self._curve.audit(cell))
        return {
            "ap": trained["ap"],
            "bytes_per_scene": self._bytes_per_scene(run),
            "leakage": leakage_of(report, config.measures),
            "decisions": decisions_of(report),
            "run_id": trained["run_id"],
            "audit_id": report["audit_id"],
            "floors": bounds_of(report, FLOOR, config.measures),
            "ceilings": bounds_of(report, CEILING, config.measures),
            "audit": _about_audit(report),
        }

    def _trained(self, run: RunConfig) -> Numbers:
        """AP after training by `run`'s evaluation, and the run's id."""
        quiet = replace(run, data=replace(run.data, evaluation=None))  # evaluated here, with intervals
        folder = RunFolder.of(self._data, quiet)
        outcome = training_session.train(
            quiet, self._data, lambda done, total, _: self._tell(f"{run.name}: training", done, total)
        )
        if outcome.state != "finished":
            raise KeyboardInterrupt
        return self._evaluated(run, folder.checkpoint(outcome.step)) | {"run_id": folder.run_id}

    def _evaluated(self, run: RunConfig, checkpoint: Path) -> Numbers:
        assert run.data.evaluation is not None
        source = open_source(run.data.evaluation, self._data / "cache")
        detector = open_checkpoint(checkpoint, engine=create_engine(run.detector.engine))
        wanted = RunEvaluationConfig(overlaps=run.evaluation.overlaps, rules=run.evaluation.rules)
        found = training_session.evaluate_source(detector, source, wanted)
        return {"ap": self._estimates(found), "frames": len(found.frames)}

    def _estimates(self, found: RunEvaluation) -> Numbers:
        """The wanted metrics with bootstrap intervals over the evaluated frames, as estimates of an audit's report."""
        config, numbers = self._curve.config, found.numbers()
        wanted = [metric.split("/") for metric in config.metrics]
        rules = {
            name: replace(rule, metrics=tuple(m for m in rule.metrics if any({name, m} <= set(own) for own in wanted)))
            for name, rule in found.rules.items()
            if any(name in own for own in wanted)
        }
        intervals = bootstrap(found.frames, rules, BootstrapConfig(rounds=config.rounds, seed=config.seed))
        estimates: Numbers = {}
        for metric in config.metrics:
            if metric in numbers:
                own = intervals.get(metric)
                low, high = (None, None) if own is None else (own.low, own.high)
                estimates[metric] = {"mean": numbers[metric], "low": low, "high": high, "scenes": len(found.frames)}
        return estimates

    def _audited(self, audit: AuditConfig) -> Mapping[str, Any]:
        session = AuditRun(audit, self._data, self._curve.config.audit.effort, device=self._device, tell=self._tell)
        report = session.run()
        write_whole(session.folder.path / "report.json", (json.dumps(report, indent=1) + "\n").encode())
        return report

    def _bytes_per_scene(self, run: RunConfig) -> float:
        assert run.data.unlabelled is not None
        store = run.settings["store"]
        archive = open_archive(Path(store["folder"]) if store["folder"] else self._data)
        where = SceneFilter(
            vehicle_id=fleet_id(run.data.unlabelled, store["guard"]),
            codec=store["codec"],
            backbone_hash=self._manifest.backbone_hash,
        )
        try:
            sizes = [scene.manifest.payload_bytes for scene in archive.catalogue.scenes(where)]
        finally:
            archive.close()
        return sum(sizes) / max(len(sizes), 1)

    def _cell_identity(self, cell: CurveCell) -> str:
        return self._identity(self._curve.run(cell), config_hash(self._curve.audit(cell)), code_sha256())

    def _start_identity(self) -> str:
        return self._identity(self._curve.run(self._curve.config.cells[0]).data.evaluation)

    def _identity(self, *parts: object) -> str:
        """What must be as it was for a finished part to count."""
        config = self._curve.config
        texts = [run_text(part) if isinstance(part, RunConfig) else repr(part) for part in parts]
        texts += [self._manifest.model_sha256, repr((config.metrics, config.measures, config.rounds))]
        return hashlib.sha256("\n".join(texts).encode()).hexdigest()


_SHARED = ("floors", "ceilings", "audit")  # of a cell, the same for all of them


def _shared(numbers: Numbers | None, name: str) -> Numbers:
    return {} if numbers is None else dict(numbers[name])


def _about_audit(report: Mapping[str, Any]) -> Numbers:
    kept = ("name", "dataset", "is_simulated", "relation")
    return {
        "victims": [
            {key: group[key] for key in kept} | {"scenes": len(group["scenes"])} for group in report["victims"]
        ],
        "attacks": [attack["title"] for attack in report["attacks"]],
        "attacker": report["attacker"],
    }
