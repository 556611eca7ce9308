"""Scratch memory that is used again, call after call.

The C library gives large blocks back to the system as soon as they are free, and fetching their pages anew cost a third
of a convolution's time (measured: 4,000 to 7,000 page faults each). GPUs have an allocator that keeps memory.
"""

from __future__ import annotations

import threading

import torch
from torch import Tensor

_held = threading.local()


def scratch(purpose: str, like: Tensor, rows: int, columns: int) -> Tensor:
    """(rows, columns) of uninitialised memory of the dtype and device of `like`.

    The next call with the same purpose in this thread gives the same memory, so nothing may keep the result.
    """
    if like.device.type != "cpu":
        return like.new_empty((rows, columns))
    buffers: dict[tuple[str, torch.dtype], Tensor] = _held.__dict__.setdefault("buffers", {})
    key = (purpose, like.dtype)
    if key not in buffers or buffers[key].numel() < rows * columns:
        with torch.inference_mode(False):  # usable inside and outside of inference mode
            buffers[key] = torch.empty(rows * columns, dtype=like.dtype)
    return buffers[key][: rows * columns].view(rows, columns)
