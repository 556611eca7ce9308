"""How far augmented features are from features of augmented points, over the scenes of a run.

Source: UpCycling (ICCV 2023), section 4 and supplement B.1, whose order is flip > rotation > ground-truth sampling.
Over which cells the mean goes is not stated there, so that all readings are measured side by side.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from server.training.features.bank_building import build_bank
from server.training.features.object_bank import FeatureBankConfig
from server.training.features.rmse import Reduction, RmseConfig, RmseMeter
from server.training.ground_truth_database import DatabaseConfig, build_database
from server.training.labelled_data import LabelledFrames
from server.training.preparation import make_detector
from server.training.run_config import RunConfig
from server.training.run_folder import RunFolder
from server.training.source_config import SourceConfig
from server.training.sources import labelled_frames, open_source
from shared_models.checkpoints import open_checkpoint, read_manifest
from shared_models.detectors.anchor_detector import AnchorDetector
from shared_models.errors import ConfigError
from shared_models.records import check

Progress = Callable[[int, int], None]

REDUCTIONS: Final[tuple[Reduction, ...]] = ("union", "all", "boxes")
KEYPOINTS: Final = "set"
# Name in the table: augmentation, mapping of the flip.
AUGMENTATIONS: Final = {
    "flip": ("flip", "exact"),
    "flip (naive)": ("flip", "naive"),
    "rotation": ("rotation", "exact"),
    "ground truth": ("ground_truth", "exact"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalysisConfig:
    """What is measured.

    scenes: at most so many, spread evenly over the frames.
    numbers: objects to draw per class, in the order of the detector's classes.
    seed: of angles and drawn objects.
    min_points: objects with fewer points are not drawn.
    """

    scenes: int = 50
    numbers: tuple[int, ...] = (15, 10, 10)
    seed: int = 0
    min_points: int = 5

    def __post_init__(self) -> None:
        check.count("AnalysisConfig", "scenes", self.scenes, 10**6)
        check.count("AnalysisConfig", "numbers", self.numbers, 1000, 0)
        check.count("AnalysisConfig", "seed", self.seed, 2**32 - 1, 0)
        check.count("AnalysisConfig", "min_points", self.min_points, 100_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentationAnalysis:
    """What was measured.

    checkpoint: "" for seeded weights. scenes_from: dataset of the scenes. objects: in bank and database.
    values: for each augmentation and column ("grid, union", ..., "set") the RMSE of each scene; NaN where there was
        nothing to compare.
    """

    run_id: str
    folder: Path
    detector: str
    checkpoint: str
    is_trained: bool
    scenes_from: str
    scene_ids: tuple[str, ...]
    objects: int
    config: AnalysisConfig
    values: Mapping[str, Mapping[str, list[float]]] = field(repr=False)

    @property
    def augmentations(self) -> tuple[str, ...]:
        """Rows of the table."""
        return tuple(self.values)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the table."""
        return tuple(next(iter(self.values.values())))

    @property
    def title(self) -> str:
        """Names detector, scenes, and whether they are simulated and the weights trained."""
        kind = "SIMULATED scenes" if self.scenes_from.startswith("simulated") else "scenes"
        weights = "" if self.is_trained else ", UNTRAINED"
        return f"{self.detector}{weights}, {len(self.scene_ids)} {kind} of {self.scenes_from}"

    def finite(self, name: str, column: str) -> list[float]:
        """The RMSE of those scenes where there was something to compare."""
        return [value for value in self.values[name][column] if not math.isnan(value)]

    def estimate(self, name: str, column: str) -> tuple[float, float]:
        """Mean and median over scenes; NaN where no scene counts."""
        values = self.finite(name, column)
        return (statistics.fmean(values), statistics.median(values)) if values else (math.nan, math.nan)

    def order(self, column: str) -> list[str]:
        """Augmentations by mean RMSE, the largest first, without those that have none."""
        means = {name: self.estimate(name, column)[0] for name in self.augmentations}
        known = [name for name in means if not math.isnan(means[name])]
        return sorted(known, key=lambda name: -means[name])

    def to_dict(self) -> dict[str, Any]:
        """For JSON, which has no NaN: null stands for it."""
        results = {
            name: {
                column: {
                    "mean": _known(self.estimate(name, column)[0]),
                    "median": _known(self.estimate(name, column)[1]),
                    "scenes": [_known(value) for value in self.values[name][column]],
                }
                for column in self.columns
            }
            for name in self.augmentations
        }
        return {
            "run_id": self.run_id,
            "detector": self.detector,
            "checkpoint": self.checkpoint,
            "is_trained": self.is_trained,
            "scenes_from": self.scenes_from,
            "scene_ids": list(self.scene_ids),
            "objects": self.objects,
            "numbers": list(self.config.numbers),
            "seed": self.config.seed,
            "rmse": results,
            "order": {column: self.order(column) for column in self.columns},
        }


def analyse_augmentation(
    run: RunConfig,
    data: Path,
    checkpoint: Path | None = None,
    config: AnalysisConfig | None = None,
    progress: Progress | None = None,
) -> AugmentationAnalysis:
    """Measure the run's detector on its evaluation frames, or its labelled ones where it has no others.

    data: the server's data folder. checkpoint: else the run's last one, else the weights that the run begins with.

    Raises:
        ConfigError, DatasetError, CheckpointError: what the run file names cannot be read.
    """
    config, folder = config or AnalysisConfig(), RunFolder.of(data, run)
    detector, chosen = _detector(run, folder, checkpoint)
    labelled = labelled_frames(open_source(run.data.labelled, data / "cache"), detector)
    source = run.data.evaluation or run.data.labelled
    scenes = _scenes(source, data, detector)
    meters = _meters(detector, labelled, config)
    ids = _spread(scenes.frame_ids, config.scenes)
    columns = [f"grid, {reduction}" for reduction in REDUCTIONS]
    columns += [KEYPOINTS] if hasattr(detector, "keypoint_channels") else []
    values: dict[str, dict[str, list[float]]] = {name: {column: [] for column in columns} for name in AUGMENTATIONS}
    for number, scene_id in enumerate(ids):
        for name, row in values.items():
            for column, value in _measured(meters, name, scenes, scene_id, (config.seed, number)).items():
                row[column].append(value)
        if progress is not None:
            progress(number + 1, len(ids))
    return AugmentationAnalysis(
        run_id=folder.run_id,
        folder=folder.path / "analysis",
        detector=detector.name,
        checkpoint="" if chosen is None else str(chosen),
        is_trained=chosen is not None and read_manifest(chosen).is_trained,
        scenes_from=source.dataset,
        scene_ids=ids,
        objects=len(meters["exact"][1]),
        config=config,
        values=values,
    )


def _detector(run: RunConfig, folder: RunFolder, checkpoint: Path | None) -> tuple[AnchorDetector, Path | None]:
    given = Path(run.detector.checkpoint) if run.detector.checkpoint else None
    made = folder.checkpoints()
    chosen = checkpoint or (made[-1] if made else given)
    detector = make_detector(run.detector, run.seed) if chosen is None else open_checkpoint(chosen)
    if not isinstance(detector, AnchorDetector):
        raise ConfigError(f"{chosen}: augmentation of features is for detectors with anchors")
    return detector.requires_grad_(False).eval(), chosen


def _scenes(source: SourceConfig, data: Path, detector: AnchorDetector) -> LabelledFrames:
    return labelled_frames(open_source(source, data / "cache"), detector)


def _spread(names: tuple[str, ...], count: int) -> tuple[str, ...]:
    if len(names) <= count:
        return names
    return tuple(names[row] for row in np.linspace(0, len(names), count, endpoint=False).astype(int))


def _meters(
    detector: AnchorDetector, labelled: LabelledFrames, config: AnalysisConfig
) -> dict[str, tuple[RmseMeter, Any]]:
    """A meter for each mapping of the flip, with the bank that both have."""
    bank = build_bank(labelled, labelled.frame_ids, detector, FeatureBankConfig(min_points=config.min_points))
    database = build_database(
        labelled, labelled.frame_ids, detector.point_fields, DatabaseConfig(min_points=config.min_points)
    )
    mappings = {mapping: RmseConfig(mapping=mapping, numbers=config.numbers) for mapping in ("exact", "naive")}
    return {name: (RmseMeter(own, detector, bank, database), bank) for name, own in mappings.items()}


def _measured(
    meters: Mapping[str, tuple[RmseMeter, Any]], name: str, scenes: LabelledFrames, scene_id: str, seed: tuple[int, int]
) -> dict[str, float]:
    augmentation, mapping = AUGMENTATIONS[name]
    rng = np.random.default_rng(seed)
    errors = meters[mapping][0].measure_each(augmentation, scenes.scan(scene_id), rng, REDUCTIONS)
    found = {f"grid, {reduction}": own.grid for reduction, own in errors.items()}
    keypoints = errors["union"].keypoints
    return found if keypoints is None else found | {KEYPOINTS: keypoints}


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
