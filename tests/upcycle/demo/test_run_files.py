from __future__ import annotations

from pathlib import Path

from server.audit.audit_config import load_audit
from server.training.run_config import load_run, run_text
from server.training.sources import open_source, refuse_shared_frames
from tests.small_demo import small_config
from upcycle.demo import run_files
from upcycle.demo.config import DemoConfig

CHECKPOINT, SERVER = Path("somewhere/step-1"), Path("somewhere/server")


def test_upcycling_never_names_the_fleets_scans() -> None:
    run = run_files.upcycling(DemoConfig(), CHECKPOINT, SERVER)
    assert run.data.unlabelled is None
    wanted = {"folder": str(SERVER), "vehicle_id": "", "codec": "float16", "scenes": 0}
    assert wanted.items() <= run.settings["store"].items()
    assert not any(world in run_text(run) for world in DemoConfig().worlds)


def test_the_control_has_all_but_the_uploads() -> None:
    config = DemoConfig(seed=5, adaptation_steps=7)
    with_features = run_files.upcycling(config, CHECKPOINT, SERVER)
    without = run_files.control(config, CHECKPOINT)
    for part in ("recipe", "seed", "detector", "augmentation", "objective", "optimiser", "loop"):
        assert getattr(with_features, part) == getattr(without, part), part
    assert (with_features.data.labelled, without.loop.steps) == (without.data.labelled, 7)
    assert without.data.unlabelled is not None
    assert without.data.unlabelled.dataset == config.own
    assert not any(world in run_text(without) for world in config.worlds)
    stores = with_features.settings["store"], without.settings["store"]
    assert [store["folder"] for store in stores] == [str(SERVER), ""]
    assert {**with_features.settings, "store": 0} == {**without.settings, "store": 0}


def test_the_control_learns_from_scans_that_nobody_labelled(tmp_path: Path) -> None:
    run = run_files.control(DemoConfig(), CHECKPOINT)
    assert run.data.unlabelled is not None
    labelled, unlabelled = (open_source(each, tmp_path) for each in (run.data.labelled, run.data.unlabelled))
    config = DemoConfig()
    assert len(unlabelled.frame_ids) == config.vehicles * config.drives * config.frames_per_drive
    refuse_shared_frames(labelled, unlabelled, ("labelled", "unlabelled"), "")


def test_a_written_run_is_the_same_run(tmp_path: Path) -> None:
    run = run_files.pretraining(small_config())
    assert run_text(load_run(run_files.write_run(tmp_path / "run.json", run))) == run_text(run)


def test_recipe_settings_can_be_changed() -> None:
    run = run_files.upcycling(DemoConfig(recipe={"pseudo_labels": {"ignore_from": 0.4}}), CHECKPOINT, SERVER)
    assert run.settings["pseudo_labels"]["ignore_from"] == 0.4
    assert run.settings["pseudo_labels"]["box_score"] == [0.6]


def test_the_audit_attacks_what_the_vehicles_drove_past(tmp_path: Path) -> None:
    config = DemoConfig(codec="int8", guard="coarse,side=2")
    audit = load_audit(run_files.write_table(tmp_path / "audit.json", run_files.audit_table(config, CHECKPOINT)))
    assert [victim.frames.dataset for victim in audit.victims] == list(config.worlds)
    assert (audit.upload.codec, audit.upload.guard) == ("int8", "coarse,side=2")
    assert audit.attacker.dataset not in config.worlds
