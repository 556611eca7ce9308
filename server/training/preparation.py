"""From a run file to a recipe that is ready to train."""

from __future__ import annotations

from pathlib import Path

import torch

from server.training.objectives import OBJECTIVES
from server.training.processes import Processes
from server.training.recipe import Recipe, RecipeSetup
from server.training.recipes import recipe_class
from server.training.run_config import DetectorSource, RunConfig, merged_tables
from server.training.sources import Source, allowed_labels, labelled_frames, open_source, refuse_shared_frames
from shared_models import detectors
from shared_models.checkpoints import open_checkpoint
from shared_models.configuration import from_dict, to_dict
from shared_models.detectors.anchor_detector import AnchorDetector
from shared_models.errors import ConfigError
from shared_models.sparse import create_engine
from shared_models.table import load


def prepare(run: RunConfig, data: Path, processes: Processes, device: torch.device) -> Recipe:
    """The recipe of `run` with its detector on `device` and its frames opened. data: the server's data folder.

    Raises:
        ConfigError, UnknownNameError: the run file names what is not there, or settings that do not fit.
        DatasetError, CheckpointError: what it names cannot be read.
    """
    detector = make_detector(run.detector, run.seed).to(device)
    source = open_source(run.data.labelled, data / "cache")
    _refuse_leaks(run, source)
    objective_class = load(OBJECTIVES, "objective", detector.name)
    setup = RecipeSetup(
        run=run,
        data=data,
        detector=detector,
        objective=objective_class(from_dict(objective_class.config_class, run.objective)),
        labelled=labelled_frames(source, detector),
        allowed_labels=allowed_labels(source),
        processes=processes,
        device=device,
    )
    found = recipe_class(run.recipe)
    return found(setup, from_dict(found.config_class, run.settings))


def _refuse_leaks(run: RunConfig, labelled: Source) -> None:
    """No labelled frame is also unlabelled, and none is evaluated on unless the run file says so."""
    config = run.data
    if config.unlabelled is not None:
        other = open_source(config.unlabelled, with_labels=False)
        refuse_shared_frames(labelled, other, ("labelled", "unlabelled"), "use both sides of one manifest")
    if config.evaluation is not None and not config.evaluates_on_labelled:
        advice = "evaluate on other frames, or say data.evaluates_on_labelled = true"
        refuse_shared_frames(labelled, open_source(config.evaluation), ("labelled", "evaluation"), advice)


def make_detector(source: DetectorSource, seed: int) -> AnchorDetector:
    """The detector that a run begins with, on the CPU.

    Raises:
        ConfigError: fields to override that its configuration does not have, or another detector in the checkpoint.
    """
    engine = create_engine(source.engine)
    if source.checkpoint:
        if source.override:
            raise ConfigError("detector.override: the checkpoint brings its own configuration; leave one of them out")
        detector = open_checkpoint(Path(source.checkpoint), engine=engine).requires_grad_(True)
        if detector.name != source.name:
            raise ConfigError(
                f"detector.checkpoint: {source.checkpoint} is a {detector.name}, the run file names {source.name}"
            )
    else:
        default = detectors.default_config(source.name, source.setting)
        try:
            config = from_dict(type(default), merged_tables(to_dict(default), source.override))
        except ConfigError as error:
            raise ConfigError(f"detector.override.{error}") from error
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            detector = detectors.build_from_config(source.name, config, engine)
    if not isinstance(detector, AnchorDetector):
        raise ConfigError(f"detector {source.name} cannot be trained here")
    return detector
