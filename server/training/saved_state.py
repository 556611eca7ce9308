"""A run's state on disk: everything that the next step needs, whole or not at all."""

from __future__ import annotations

import io
import logging
import pickle
from pathlib import Path
from typing import Any, Final

import torch

from server.training.atomic_files import write_whole
from shared_models.errors import CheckpointError

log = logging.getLogger(__name__)

FORMAT: Final = 1
KEPT: Final = 2
_FAULTS: Final = (OSError, RuntimeError, EOFError, KeyError, ValueError, pickle.UnpicklingError)


def save_state(folder: Path, step: int, state: dict[str, Any]) -> Path:
    """Write the state after `step` steps; older ones but the last are removed.

    Raises:
        StorageFullError, StorageError: it cannot be written; what was saved before is still there.
    """
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, "step": step, **state}, buffer)
    path = folder / f"step-{step:08d}.pt"
    write_whole(path, buffer.getvalue())
    for old in sorted(folder.glob("step-*.pt"))[:-KEPT]:
        old.unlink(missing_ok=True)
    return path


def load_state(folder: Path) -> dict[str, Any] | None:
    """The latest state that can be read, on the CPU; None where there is none.

    Raises:
        CheckpointError: there are states, and none of them can be read.
    """
    paths = sorted(folder.glob("step-*.pt"), reverse=True)
    for path in paths:
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            if state["format"] != FORMAT:
                raise ValueError(f"format {state['format']}, expected {FORMAT}")
        except _FAULTS as error:
            log.warning("saved state cannot be read", extra={"file": path.name, "reason": str(error)[:200]})
            continue
        found: dict[str, Any] = state
        return found
    if paths:
        raise CheckpointError(f"{folder}: none of its {len(paths)} saved states can be read; begin anew with --fresh")
    return None
