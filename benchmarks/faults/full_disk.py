"""A disk so small that it fills up: a tmpfs, which only root may mount. Linux only."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared_models.errors import OperatorError


class SmallDisk:
    """A mounted tmpfs of a few pages."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def resize(self, size_bytes: int) -> None:
        """Make it larger, or smaller as far as it is empty.

        Raises:
            OperatorError: the kernel refuses.
        """
        _mount("-o", f"remount,size={size_bytes}", str(self.folder))

    def free_bytes(self) -> int:
        """What is left."""
        return shutil.disk_usage(self.folder).free


@contextmanager
def small_disk(folder: Path, size_bytes: int) -> Iterator[SmallDisk]:
    """A tmpfs of `size_bytes` at `folder` (made where it is missing), gone at the end with what is on it.

    Raises:
        OperatorError: it cannot be mounted: not root, or a container without the right to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _mount("-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(folder))
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True, capture_output=True)


def _mount(*arguments: str) -> None:
    try:
        done = subprocess.run(["mount", *arguments], capture_output=True, text=True)
    except FileNotFoundError as error:
        raise OperatorError("no `mount` on this machine") from error
    if done.returncode:
        raise OperatorError(f"mount: {done.stderr.strip()}")
