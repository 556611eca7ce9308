"""A run's state on disk: everything that the next step needs, whole or not at all.

A file is one line that names the format, the SHA-256 (32 bytes) of all that follows, and what torch.save wrote. torch
itself takes a flipped bit for a weight.
"""

from __future__ import annotations

import hashlib
import io
import logging
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from server.training.atomic_files import write_whole
from shared_models.errors import CheckpointError

log = logging.getLogger(__name__)

FORMAT: Final = 2
KEPT: Final = 2
_HEAD: Final = f"upcycle saved state, format {FORMAT}\n".encode()
_DIGEST_BYTES: Final = 32
_FAULTS: Final = (
    OSError,
    RuntimeError,
    EOFError,
    KeyError,
    ValueError,
    TypeError,
    AttributeError,
    pickle.UnpicklingError,
)


def save_state(folder: Path, step: int, state: dict[str, Any]) -> Path:
    """Write the state after `step` steps to the disk; older ones but the last are removed then.

    Raises:
        StorageFullError, StorageError: it cannot be written; what was saved before is still there.
    """
    buffer = io.BytesIO()
    torch.save({"step": step, **state}, buffer)
    content = buffer.getvalue()
    path = folder / f"step-{step:08d}.pt"
    write_whole(path, _HEAD + hashlib.sha256(content).digest() + content, is_durable=True)
    for old in sorted(folder.glob("step-*.pt"))[:-KEPT]:
        old.unlink(missing_ok=True)
    return path


def load_state(folder: Path) -> dict[str, Any] | None:
    """The latest state that can be read, on the CPU; None where there is none.

    Raises:
        CheckpointError: there are states, and none of them can be read.
    """
    paths, reason = sorted(folder.glob("step-*.pt"), reverse=True), ""
    for path in paths:
        try:
            return read_state(path)
        except _FAULTS as error:
            reason = str(error).partition(". ")[0][:200] or type(error).__name__  # torch goes on with advice
            log.warning("saved state cannot be read", extra={"file": path.name, "reason": reason})
    if paths:
        raise CheckpointError(
            f"{folder}: none of its {len(paths)} saved states can be read ({paths[-1].name}: {reason}); "
            "begin anew with --fresh"
        )
    return None


def read_state(path: Path) -> dict[str, Any]:
    """One saved state, on the CPU.

    Raises:
        OSError: it cannot be read.
        ValueError: it is damaged or of another format.
        Exception: whatever torch raises where a state's hash is right and its content is not.
    """
    content = path.read_bytes()
    if not content.startswith(_HEAD):
        raise ValueError(f"no saved state of format {FORMAT}: damaged, or written by another version")
    start = len(_HEAD) + _DIGEST_BYTES
    body = memoryview(content)[start:]
    if hashlib.sha256(body).digest() != content[len(_HEAD) : start]:
        raise ValueError("damaged: its SHA-256 is not the one that was written with it")
    found: dict[str, Any] = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
    return found


def state_sha256(state: Mapping[str, Tensor]) -> str:
    """SHA-256 (hex) of names, types, shapes and bits of a module's state."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
