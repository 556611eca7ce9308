"""A run's place on disk and in the list of runs.

DATA/runs/RUN_ID/run.json           complete effective configuration
DATA/runs/RUN_ID/state/             what a stopped run goes on from, see server/training/saved_state.py
DATA/runs/RUN_ID/checkpoints/       step-00001000/ and so on, see docs/checkpoint-format.md
DATA/runs/RUN_ID/tensorboard/       numbers, also in DATA/catalogue.sqlite
DATA/runs/RUN_ID/evaluations/       step-00001000.json
DATA/runs/RUN_ID/follow/, good/, published    of a run that follows its store: decisions, the state of the published
                                    checkpoint, and the link to it
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from server.repositories.run_log import hash_run_file
from server.training.atomic_files import write_whole
from server.training.run_config import RunConfig, run_text, whole_run_text


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFolder:
    """Paths of one run. run_id follows from the configuration (`run_text`), so the same run file goes on with it."""

    path: Path
    run_id: str

    @classmethod
    def of(cls, data: Path, run: RunConfig) -> RunFolder:
        """The folder of `run` below the server's data folder."""
        run_id = run_id_of(run)
        return cls(path=data / "runs" / run_id, run_id=run_id)

    @property
    def state(self) -> Path:
        """Folder of saved states."""
        return self.path / "state"

    @property
    def good(self) -> Path:
        """Folder of the saved states that published checkpoints were made from, where the run follows its store."""
        return self.path / "good"

    @property
    def tensorboard(self) -> Path:
        """Folder of TensorBoard's files."""
        return self.path / "tensorboard"

    def checkpoint(self, step: int) -> Path:
        """Folder of the checkpoint after `step` steps."""
        return self.path / "checkpoints" / f"step-{step:08d}"

    def evaluation(self, step: int) -> Path:
        """File of the evaluation after `step` steps."""
        return self.path / "evaluations" / f"step-{step:08d}.json"

    def checkpoints(self) -> list[Path]:
        """Folders of all checkpoints, by step."""
        return sorted((self.path / "checkpoints").glob("step-*"))

    def newest_weights(self, last_step: int) -> Path | None:
        """The newest checkpoint or saved state of at most `last_step` steps, a checkpoint where both are as new."""
        made = [(_step_of(path), is_checkpoint, path) for path, is_checkpoint in self._weights()]
        return max((each for each in made if each[0] <= last_step), default=(0, False, None))[2]

    def _weights(self) -> list[tuple[Path, bool]]:
        saved = [(path, False) for path in self.state.glob("step-*.pt")]
        return saved + [(path, True) for path in self.checkpoints()]

    def write_run(self, run: RunConfig) -> None:
        """Keep the complete effective configuration. Raises StorageError, StorageFullError."""
        write_whole(self.path / "run.json", whole_run_text(run).encode())


def _step_of(path: Path) -> int:
    return int(path.stem.removeprefix("step-"))


def run_id_of(run: RunConfig) -> str:
    """The run's name and the first digits of its configuration's hash."""
    return f"{run.name}-{hash_run_file(run_text(run))[:10]}"
