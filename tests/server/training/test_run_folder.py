from __future__ import annotations

from pathlib import Path

from server.training.run_config import RunConfig
from server.training.run_folder import RunFolder, run_id_of


def test_everything_of_a_run_lies_in_its_folder(tmp_path: Path) -> None:
    run = RunConfig(name="a run")
    folder = RunFolder.of(tmp_path, run)
    assert folder.path == tmp_path / "runs" / run_id_of(run)
    paths = [folder.state, folder.tensorboard, folder.checkpoint(3), folder.evaluation(3)]
    assert all(path.is_relative_to(folder.path) for path in paths)
    assert len({*paths}) == 4


def test_the_newest_weights_are_a_checkpoint_or_a_saved_state(tmp_path: Path) -> None:
    folder = RunFolder.of(tmp_path, RunConfig())
    assert folder.newest_weights(100) is None
    folder.state.mkdir(parents=True)
    states = {step: folder.state / f"step-{step:08d}.pt" for step in (9, 20)}
    for path in states.values():
        path.write_bytes(b"")
    assert folder.newest_weights(100) == states[20]
    assert folder.newest_weights(19) == states[9]
    for step in (10, 20):
        folder.checkpoint(step).mkdir(parents=True)
    assert folder.newest_weights(19) == folder.checkpoint(10)
    assert folder.newest_weights(20) == folder.checkpoint(20)
    assert folder.newest_weights(8) is None


def test_checkpoints_are_listed_by_step(tmp_path: Path) -> None:
    folder = RunFolder.of(tmp_path, RunConfig())
    assert folder.checkpoints() == []
    steps = [5, 100, 99_999_999, 20]
    for step in steps:
        folder.checkpoint(step).mkdir(parents=True)
    (folder.path / "checkpoints" / ".step-00000030.x").mkdir()  # one that was being written when the machine stopped
    assert folder.checkpoints() == [folder.checkpoint(step) for step in sorted(steps)]
