"""Random numbers that depend only on what they are for, never on what was drawn before or elsewhere."""

from __future__ import annotations

import zlib

import numpy as np


def generator(seed: int, *path: str | int) -> np.random.Generator:
    """An independent stream for one purpose: `generator(0, "germany", 7, "buildings")`.

    Words enter by their CRC-32, so a stream does not change with the process, the platform or Python's hash seed.
    """
    words = [part if isinstance(part, int) else zlib.crc32(part.encode()) for part in path]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, *words])))
