"""The whole demonstration, stage by stage, up to its numbers."""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from server.training.run_config import RunConfig
from server.training.source_config import SourceConfig
from server.training.sources import open_source
from shared_models.checkpoints import open_checkpoint
from shared_models.configuration import to_dict
from upcycle.demo import auditing, pictures, precision, run_files
from upcycle.demo.config import DemoConfig
from upcycle.demo.fleet import Fleet
from upcycle.demo.precision import AFTER, BEFORE, CONTROL
from upcycle.demo.stages import Say, Stages
from upcycle.demo.trainings import Training, train_together
from upcycle.demo.transport import THREADS, transported

SCHEMA: Final = "upcycle.demo.v1"
TITLES: Final = {
    "pretraining": "pre-training in the source city",
    "fleet": "the fleet drives and uploads",
    "learning": "learning from the uploads",
    "precision": "AP before and after",
    "audit": "quick audit of the uploads",
}


class Story:
    """One demonstration in one folder; stages that an earlier call finished there are not made again."""

    def __init__(self, config: DemoConfig, folder: Path, console: Console) -> None:
        self._config = replace(config, threads=min(config.threads, _cores()))
        self._folder = folder.resolve()  # run files name checkpoints below it
        self._stages = Stages(self._folder, console)

    @property
    def _data(self) -> Path:
        """The data folder of the trainings."""
        return self._folder / "training"

    def tell(self) -> dict[str, Any]:
        """Everything that happened, ready for JSON.

        Raises:
            OperatorError: a process failed. StorageError: the folder cannot be written.
        """
        config, whole = self._config, to_dict(self._config)
        stage = self._stages.run
        inputs = {"config": whole, "folder": str(self._folder)}  # results name files below it
        pretraining = stage("pretraining", TITLES["pretraining"], inputs, self._pretrain)
        checkpoint = Path(pretraining["checkpoint"])
        fleet = stage("fleet", TITLES["fleet"], inputs, lambda say: self._drive(checkpoint, say))
        learnt = stage("learning", TITLES["learning"], inputs, lambda say: self._learn(checkpoint, say))
        scored = stage("precision", TITLES["precision"], inputs, lambda say: self._measure(checkpoint, learnt, say))
        audited = stage(
            "audit",
            TITLES["audit"],
            inputs,
            lambda say: auditing.audit(config, checkpoint, self._folder / "audit", self._server_data, say),
        )
        times = self._stages.times
        return {
            "schema": SCHEMA,
            "is_simulated": True,
            "config": whole,
            "machine": _machine(),
            "stages": [asdict(each) for each in times],
            "total": {"wall_s": sum(t.wall_s for t in times), "cpu_s": sum(t.cpu_s for t in times)},
            "pretraining": pretraining,
            "fleet": fleet,
            "learning": learnt,
            "precision": scored,
            "audit": audited,
        }

    @property
    def _server_data(self) -> Path:
        return self._fleet_folder / "server"

    @property
    def _fleet_folder(self) -> Path:
        return self._folder / "fleet"

    def _training(self, run: RunConfig) -> Training:
        self._folder.mkdir(parents=True, exist_ok=True)
        return Training(run=run, folder=self._folder, data=self._data)

    def _pretrain(self, say: Say) -> dict[str, Any]:
        (made,) = train_together([self._training(run_files.pretraining(self._config))], say)
        return made

    def _drive(self, checkpoint: Path, say: Say) -> dict[str, Any]:
        config = self._config
        shutil.rmtree(self._fleet_folder, ignore_errors=True)  # what an interrupted call left would be counted
        detector = open_checkpoint(checkpoint)
        fleet = Fleet(
            folder=self._fleet_folder,
            detector_options=("--checkpoint", str(checkpoint)),
            backbone_hash=detector.backbone_hash,
            codecs=config.codecs,
            worlds=config.worlds,
            dataset=config.target,
            guard=config.guard,
            vehicle_count=config.vehicles,
            threads=THREADS,
        )
        say("server and vehicles start")
        whole = config.vehicles * config.drives * config.frames_per_drive * len(config.codecs)
        reports = fleet.run(lambda stored: say(f"{stored} of {whole} scenes stored"))
        results = transported(fleet, reports, detector, lambda scenes: say(f"the server's heads: {scenes} scenes"))
        vehicles = [_vehicle(report, config.codec) for report in reports]
        return results | {"worlds": list(config.worlds), "drivers": vehicles, "backbone_hash": detector.backbone_hash}

    def _learn(self, checkpoint: Path, say: Say) -> dict[str, Any]:
        config = self._config
        runs = {AFTER: run_files.upcycling(config, checkpoint, self._server_data)}
        if config.with_control:
            runs[CONTROL] = run_files.control(config, checkpoint)
        made = train_together([self._training(run) for run in runs.values()], say)
        return dict(zip(runs, made, strict=True))

    def _measure(self, checkpoint: Path, learnt: dict[str, Any], say: Say) -> dict[str, Any]:
        config, cache = self._config, self._data / "cache"
        checkpoints = {BEFORE: checkpoint} | {name: Path(each["checkpoint"]) for name, each in learnt.items()}
        found = precision.measure(checkpoints, config.held_out, cache, config.rounds, say)
        dataset = open_source(SourceConfig(dataset=config.held_out), cache).dataset
        own = found.evaluations
        drawn = pictures.draw(own[BEFORE], own[AFTER], dataset, self._folder / "pictures")
        return found.numbers | {"pictures": drawn}


def _vehicle(report: dict[str, Any], codec: str) -> dict[str, Any]:
    """What the page tells about one vehicle."""
    return {
        "vehicle_id": report["vehicle_id"],
        "scans": report["frames_used"],
        "raw_bytes": report["raw_bytes"],
        "payload_bytes": report["payload_bytes"],
        "codec": codec,
    }


def _machine() -> dict[str, Any]:
    """What the times were measured on; no name of the machine."""
    return {
        "processor": platform.machine(),
        "cores": _cores(),
        "python": platform.python_version(),
    }


def _cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
