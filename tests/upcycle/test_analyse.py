from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from typer.testing import CliRunner

from server.training.run_folder import RunFolder
from shared_models.errors import ConfigError, InvalidValueError
from tests.small_runs import make_loop, small_run, write_frames, write_run_file
from tests.unlabelled_runs import PV_RCNN
from upcycle.analyse import app
from upcycle.augmentation_analysis import AnalysisConfig, AugmentationAnalysis, analyse_augmentation

FEW = AnalysisConfig(scenes=2, numbers=(3, 3, 3), min_points=1)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return write_frames(tmp_path_factory.mktemp("frames") / "kitti", 4)


@pytest.mark.parametrize("changes", [(), PV_RCNN], ids=["second_iou", "pv_rcnn"])
def test_every_augmentation_and_reduction_is_measured(root: Path, tmp_path: Path, changes) -> None:
    found = analyse_augmentation(small_run(root, *changes), tmp_path, config=FEW)
    grids = ("grid, union", "grid, all", "grid, boxes")
    assert found.columns == (*grids, "set") if changes else grids
    assert found.augmentations == ("flip", "flip (naive)", "rotation", "ground truth")
    assert found.scene_ids == ("training-000000", "training-000002")
    assert not found.is_trained
    for name in found.augmentations:
        for column in found.columns:
            assert len(found.values[name][column]) == 2
            assert found.estimate(name, column)[0] > 0
    assert found.values["flip"]["grid, union"] != found.values["flip (naive)"]["grid, union"]
    if changes:  # the mapping is of cells; keypoints are mirrored exactly
        assert found.values["flip"]["set"] == found.values["flip (naive)"]["set"]


def test_the_seed_draws_angles_and_objects(root: Path, tmp_path: Path) -> None:
    one, same, other = (
        analyse_augmentation(small_run(root), tmp_path, config=AnalysisConfig(scenes=1, seed=seed, min_points=1))
        for seed in (0, 0, 1)
    )
    assert one.to_dict() == same.to_dict()
    assert one.values["rotation"] != other.values["rotation"]
    assert one.values["flip"] == other.values["flip"]  # draws nothing


def made(values: dict[str, list[float]]) -> AugmentationAnalysis:
    return AugmentationAnalysis(
        run_id="r", folder=Path("f"), detector="second_iou", checkpoint="", is_trained=True,
        scenes_from="simulated,seed=1", scene_ids=("a", "b", "c"), objects=0, config=AnalysisConfig(),
        values={name: {"grid, union": own} for name, own in values.items()},
    )  # fmt: skip


def test_means_medians_and_order_by_hand() -> None:
    found = made({"flip": [1.0, 2.0, 6.0], "rotation": [4.0, math.nan, 5.0], "ground truth": [math.nan] * 3})
    assert found.estimate("flip", "grid, union") == (3.0, 2.0)
    assert found.estimate("rotation", "grid, union") == (4.5, 4.5)
    assert found.order("grid, union") == ["rotation", "flip"]
    shown = found.to_dict()["rmse"]
    assert shown["rotation"]["grid, union"]["scenes"] == [4.0, None, 5.0]
    assert shown["ground truth"]["grid, union"]["mean"] is None
    json.dumps(found.to_dict(), allow_nan=False)
    assert found.title == "second_iou, 3 SIMULATED scenes of simulated,seed=1"


def test_the_command(root: Path, tmp_path: Path) -> None:
    file, data = write_run_file(tmp_path / "run.json", root, "loop.steps=1"), tmp_path / "data"
    words = ["augmentation", "--run", str(file), "--data", str(data), "--scenes", "2", "--numbers", "2,2,2"]
    result = CliRunner().invoke(app, words, env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    assert "UNTRAINED weights" in result.stderr
    assert "second_iou, UNTRAINED, 2 scenes of kitti" in result.stdout
    folder = RunFolder.of(data, small_run(root, "loop.steps=1"))
    report = json.loads((folder.path / "analysis/augmentation.json").read_text())
    assert (report["is_trained"], report["numbers"], len(report["scene_ids"])) == (False, [2, 2, 2], 2)
    assert (folder.path / "analysis/augmentation.png").read_bytes().startswith(b"\x89PNG")
    make_loop(small_run(root, "loop.steps=1"), data).run()
    result = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "out")], env={"COLUMNS": "200"})
    assert "UNTRAINED" not in result.output
    trained = json.loads((tmp_path / "out/augmentation.json").read_text())
    assert trained["checkpoint"] == str(folder.checkpoint(1))
    assert trained["is_trained"]


def test_nonsense_is_refused(root: Path, tmp_path: Path) -> None:
    file = write_run_file(tmp_path / "run.json", root)
    result = CliRunner().invoke(app, ["augmentation", "--run", str(file), "--numbers", "a few"])
    assert isinstance(result.exception, ConfigError)
    with pytest.raises(InvalidValueError, match=r"AnalysisConfig\.scenes"):
        AnalysisConfig(scenes=0)
