"""Run files: one complete TOML file says everything that a training run depends on."""

from __future__ import annotations

import copy
import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from server.training.augmentation_chain import AugmentationConfig
from server.training.follow_config import WITHOUT_EFFECT as FOLLOW_WITHOUT_EFFECT
from server.training.follow_config import FollowConfig
from server.training.loop_config import WITHOUT_EFFECT, LoopConfig
from server.training.optimiser import OptimiserConfig
from server.training.source_config import SourceConfig
from shared_models.configuration import from_dict, to_dict
from shared_models.errors import ConfigError, InvalidValueError
from shared_models.records import check


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorSource:
    """Where the detector comes from.

    name: as in `shared_models.detectors`. setting: its complete configuration by name (kitti, waymo, small, tiny).
    override: fields of that configuration that differ, as nested tables.
    checkpoint: folder of a checkpoint to start from, which brings its own configuration; "" starts from seeded weights.
    engine: of sparse convolutions: auto, rulebook or spconv.
    """

    name: str = "second_iou"
    setting: str = "tiny"
    override: dict[str, Any] = field(default_factory=dict)
    checkpoint: str = ""
    engine: str = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """Which frames are for what.

    labelled: frames whose labels are learned from. unlabelled: frames whose features, or scans, are.
    evaluation: held-out frames. evaluates_on_labelled: they may be among the labelled ones, to show over-fitting.
    """

    labelled: SourceConfig = SourceConfig()
    unlabelled: SourceConfig | None = None
    evaluation: SourceConfig | None = None
    evaluates_on_labelled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationSettings:
    """What is reported.

    overlaps: "strict" is KITTI's (car 0.7, others 0.5), "loose" 0.5 and 0.25 from above and in space.
    rules: "kitti" always; "waymo" adds AP and APH at LEVEL_1 and LEVEL_2.
    """

    overlaps: tuple[Literal["strict", "loose"], ...] = ("strict", "loose")
    rules: tuple[Literal["kitti", "waymo"], ...] = ("kitti",)

    def __post_init__(self) -> None:
        if "kitti" not in self.rules or len(set(self.rules)) != len(self.rules):
            raise InvalidValueError(f"EvaluationSettings.rules: expected kitti, or kitti and waymo, got {self.rules}")
        if not self.overlaps or len(set(self.overlaps)) != len(self.overlaps):
            raise InvalidValueError(f"EvaluationSettings.overlaps: expected strict, loose or both, got {self.overlaps}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """A training run.

    name: for people; the run's folder begins with it. recipe: as in `server.training.recipes`.
    seed: of weights, order, augmentation and proposals.
    objective: settings of the detector's objective. settings: of the recipe. evaluation: of the evaluation.
    follow: continuous learning; only a run that follows its store has it in its id.
    """

    name: str = "run"
    recipe: str = "supervised"
    seed: int = 0
    detector: DetectorSource = DetectorSource()
    data: DataConfig = DataConfig()
    augmentation: AugmentationConfig = AugmentationConfig()
    objective: dict[str, Any] = field(default_factory=dict)
    optimiser: OptimiserConfig = OptimiserConfig()
    loop: LoopConfig = LoopConfig()
    settings: dict[str, Any] = field(default_factory=dict)
    evaluation: EvaluationSettings = EvaluationSettings()
    follow: FollowConfig = FollowConfig()

    def __post_init__(self) -> None:
        check.name("RunConfig", "name", self.name, 60)
        check.count("RunConfig", "seed", self.seed, 2**32 - 1, 0)


def load_run(path: Path, changes: Iterable[str] = ()) -> RunConfig:
    """The run in a TOML file, or in the JSON that a run keeps of itself, with `changes` ("loop.epochs=3") applied.

    Raises:
        ConfigError: the file cannot be read, a key is unknown, or a value is wrong; the message names file and key.
    """
    return parse_run(read_table(path), str(path), changes)


def read_table(path: Path) -> dict[str, Any]:
    """A TOML or JSON file as a nested mapping.

    Raises:
        ConfigError: the file cannot be read or parsed.
    """
    try:
        text = path.read_text(encoding="utf-8")
        table: Any = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise ConfigError(f"{path}: not valid {'JSON' if path.suffix == '.json' else 'TOML'}: {error}") from error
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: expected a table of settings, got a {type(table).__name__}")
    return table


def parse_run(table: Mapping[str, Any], source: str, changes: Iterable[str] = ()) -> RunConfig:
    """The run in `table`; sections that only the recipe or the objective knows are checked too.

    Raises:
        ConfigError: as `load_run`; `source` names the file.
    """
    try:
        return complete(from_dict(RunConfig, changed(table, changes)))
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from error


def complete(run: RunConfig) -> RunConfig:
    """`run` with the defaults of its recipe and objective written out, so that its text says everything.

    Raises:
        ConfigError, UnknownNameError: an unknown recipe or detector, or settings that it does not have.
    """
    from server.training.objectives import OBJECTIVES
    from server.training.recipes import recipe_class
    from shared_models.table import load

    parts = {
        "settings": recipe_class(run.recipe).config_class,
        "objective": load(OBJECTIVES, "objective", run.detector.name).config_class,
    }
    written: dict[str, Any] = {}
    for name, cls in parts.items():
        try:
            written[name] = to_dict(from_dict(cls, getattr(run, name)))
        except ConfigError as error:
            raise ConfigError(f"{name}.{error}") from error
    return replace(run, **written)


def changed(table: Mapping[str, Any], changes: Iterable[str]) -> dict[str, Any]:
    """A copy of `table` with each "dotted.key=value" set; a value is TOML where it is that, else text.

    Raises:
        ConfigError: a change is not of that form, or leads through a value that is no table.
    """
    result: dict[str, Any] = copy.deepcopy(dict(table))
    for change in changes:
        key, sign, text = change.partition("=")
        if not sign or not key:
            raise ConfigError(f"--set {change}: expected KEY=VALUE, for example loop.epochs=3")
        *path, last = key.strip().split(".")
        inner = result
        for word in path:
            inner = inner.setdefault(word, {})
            if not isinstance(inner, dict):
                raise ConfigError(f"--set {change}: {word} is a value, not a table")
        inner[last] = _value(text)
    return result


def merged_tables(table: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`table` with the values of `changes`, nested tables merged key by key."""
    result = dict(table)
    for key, value in changes.items():
        inner = result.get(key)
        both = isinstance(inner, Mapping) and isinstance(value, Mapping)
        result[key] = merged_tables(inner, value) if both else value  # type: ignore[arg-type]
    return result


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text.strip()


def run_text(run: RunConfig) -> str:
    """The configuration as JSON text, the same for equal runs: what gives the run's id and stands in the run log.

    Keys of the loop that cannot change what is learned (`WITHOUT_EFFECT`) are left out, so that a run can go on with
    others. The text is itself a run file.
    """
    table = to_dict(run)
    for name in WITHOUT_EFFECT:
        del table["loop"][name]
    for name in FOLLOW_WITHOUT_EFFECT:
        del table["follow"][name]
    return _json(_without_unused(table))


def whole_run_text(run: RunConfig) -> str:
    """The complete effective configuration as JSON text.

    Only `loop.stop_after` is 0: who trains by this text later wants the whole run.
    """
    return _json(_without_unused(to_dict(replace(run, loop=replace(run.loop, stop_after=0)))))


def _without_unused(table: dict[str, Any]) -> dict[str, Any]:
    """A run that does not follow its store is the same one whatever `follow` says."""
    if not table["follow"]["is_on"]:
        del table["follow"]
    return table


def _json(table: Mapping[str, Any]) -> str:
    return json.dumps(table, indent=1, sort_keys=True) + "\n"
