"""The shipped curve file, and what its cells are made of."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.audit.curve.curve_config import CurveCell as Cell
from server.audit.curve.curve_config import CurveConfig, load_curve, slug
from server.training.experiment import Variant
from shared_models import guards
from shared_models.errors import ConfigError, InvalidValueError, UnknownNameError


@pytest.fixture
def file(repository: Path) -> Path:
    return repository / "deploy/runs/audit-curve.toml"


def test_cells_differ_by_guard_and_codec_only(file: Path) -> None:
    curve = load_curve(file, ["seed=7", "checkpoint='somewhere'"])
    noise = next(cell for cell in curve.config.cells if cell.name == "noise, epsilon 200")
    run, audit = curve.run(noise), curve.audit(noise)
    name = guards.build("noise,epsilon=200.0").described()
    assert (run.settings["store"]["guard"], run.settings["store"]["codec"]) == (name, "float16")
    assert (audit.upload.guard, audit.upload.codec) == (name, "float16")
    assert (run.seed, audit.seed) == (7, 7)
    assert run.detector.checkpoint == audit.detector.checkpoint == "somewhere"
    assert (run.loop.steps, audit.quick.victims, [attack.attack for attack in audit.attacks]) == (
        150,
        8,
        ["active_cells", "occupancy"],
    )
    assert run.name == "audit-curve-noise-epsilon-200"
    exact = next(cell for cell in curve.config.cells if cell.codec == "float32")
    other = curve.run(exact)
    assert (other.settings["store"]["guard"], other.settings["store"]["codec"]) == ("none", "float32")
    assert other.loop == run.loop
    assert other.data == run.data
    assert other.settings | {"store": None} == run.settings | {"store": None}
    control = curve.control(curve.config.controls[0])
    assert (control.recipe, control.settings["freeze_vehicle_part"]) == ("supervised", True)
    assert (control.loop, control.settings["repeat"]) == (run.loop, run.settings["repeat"])


def test_every_guard_that_changes_this_detector_s_features_has_a_cell(file: Path) -> None:
    used = {word.split(",")[0] for cell in load_curve(file).config.cells for word in cell.guard.split("+")}
    assert used == set(guards.GUARDS) - {"keypoint_jitter", "keypoint_snap"}
    assert {cell.codec for cell in load_curve(file).config.cells} >= {"float32", "float16", "int8", "int4"}


def test_more_cells_are_the_same_curve_and_other_steps_another(file: Path) -> None:
    curve = load_curve(file)
    assert load_curve(file, ["cells=[{name='one'}]", "controls=[]"]).curve_id == curve.curve_id
    assert load_curve(file, ["training.change.loop.steps=151"]).curve_id != curve.curve_id
    assert load_curve(file, ["audit.change.quick.victims=9"]).curve_id != curve.curve_id
    assert load_curve(file, ["checkpoint='x'"]).curve_id != curve.curve_id


def test_mistakes_show_before_the_first_training(file: Path) -> None:
    with pytest.raises(UnknownNameError, match="guard"):
        load_curve(file, ["cells=[{name='one', guard='shield'}]"])
    with pytest.raises(UnknownNameError, match="codec"):
        load_curve(file, ["cells=[{name='one', codec='int3'}]"])
    with pytest.raises(ConfigError, match=r"audit-curve\.toml.*no_such"):
        load_curve(file, ["no_such=1"])
    with pytest.raises(ConfigError, match=r"adaptation-short\.toml, none, float32.*lops"):
        load_curve(file, ["training.change.lops.steps=1"])
    with pytest.raises(ConfigError, match=r"audit-quick\.toml, none, float32.*quik"):
        load_curve(file, ["audit.change.quik.victims=1"])
    with pytest.raises(ConfigError, match="needs recipe upcycling"):
        load_curve(file, ["training.change.settings.store.vehicle_id='car-1'"])
    with pytest.raises(ConfigError, match="no settings.sharpness"):
        load_curve(file, ["controls=[{name='x', without=['settings.sharpness']}]"])
    with pytest.raises(ConfigError, match="'loose' in evaluation.overlaps"):
        load_curve(file, ["training.change.evaluation.overlaps=['strict']"])


def test_values_are_checked() -> None:
    with pytest.raises(InvalidValueError, match="different"):
        CurveConfig(cells=(Cell(name="a"), Cell(name="a")))
    with pytest.raises(InvalidValueError, match="measures"):
        CurveConfig(measures=("f", "f"))
    with pytest.raises(InvalidValueError, match="metrics"):
        CurveConfig(metrics=("AP",))
    with pytest.raises(InvalidValueError, match="controls"):
        CurveConfig(controls=(Variant(name="a", starts_from="b"),))
    with pytest.raises(InvalidValueError, match="names that no cell has"):
        CurveConfig(controls=(Variant(name="none"),))


def test_slugs_are_names_of_folders() -> None:
    assert slug("curve-noise, epsilon 0.5") == "curve-noise-epsilon-0.5"
    assert len(slug("a b" * 100)) == 60
