"""A run's place on disk and in the list of runs.

DATA/runs/RUN_ID/run.json           complete effective configuration
DATA/runs/RUN_ID/state/             what a stopped run goes on from
DATA/runs/RUN_ID/checkpoints/       step-00001000/ and so on, see docs/checkpoint-format.md
DATA/runs/RUN_ID/tensorboard/       numbers, also in DATA/catalogue.sqlite
DATA/runs/RUN_ID/evaluations/       step-00001000.json
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from server.repositories.run_log import hash_run_file
from server.training.atomic_files import write_whole
from server.training.run_config import RunConfig, run_text


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFolder:
    """Paths of one run. run_id follows from the configuration, so the same run file goes on with the same run."""

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

    def write_run(self, run: RunConfig) -> None:
        """Keep the effective configuration. Raises StorageError, StorageFullError."""
        write_whole(self.path / "run.json", run_text(run).encode())


def run_id_of(run: RunConfig) -> str:
    """The run's name and the first digits of its configuration's hash."""
    return f"{run.name}-{hash_run_file(run_text(run))[:10]}"
