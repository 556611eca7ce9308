"""The published checkpoint: a link that `upcycle server serve --model LINK` reads, changed in one step.

Only the files of the checkpoint itself lie behind it, never the list of scenes that it has learned from, because the
server hands out every file there. Releases lie in a hidden folder beside the link; the last two are kept, for vehicles
that are in the middle of a download.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Final

from server.training.atomic_files import write_whole
from shared_models.checkpoints import read_manifest
from shared_models.errors import ConfigError, StorageError

FILES: Final = ("model.safetensors", "manifest.json")
KEPT: Final = 2


class Publisher:
    """Puts checkpoints behind one link."""

    def __init__(self, link: Path) -> None:
        """Raises:
        ConfigError: there is something else in the link's place.
        """
        if link.exists() and not link.is_symlink():
            raise ConfigError(
                f"follow.publish: {link} exists and is no link; name a path that is still free, and give the server "
                "that path as --model once the first checkpoint is published"
            )
        self.link = link
        self._releases = link.parent / f".{link.name}-releases"

    @property
    def checkpoint_id(self) -> str:
        """Of what is published; "" where nothing is."""
        return read_manifest(self.link).checkpoint_id if self.link.exists() else ""

    def publish(self, checkpoint: Path) -> None:
        """Let the link lead to a copy of `checkpoint`; does nothing where it does so already.

        Raises:
            CheckpointError: there is no checkpoint.
            StorageFullError, StorageError: it cannot be written; what was published before still is.
        """
        release = self._releases / read_manifest(checkpoint).checkpoint_id[:16]
        for name in FILES:  # the manifest last: without it there is no checkpoint
            if not (release / name).is_file():
                write_whole(release / name, (checkpoint / name).read_bytes(), is_durable=True)
        try:
            self._lead_to(release)
        except OSError as error:
            raise StorageError(f"{self.link}: cannot be changed: {error.strerror or error}") from error

    def _lead_to(self, release: Path) -> None:
        target = Path(self._releases.name) / release.name
        before = self.link.readlink() if self.link.is_symlink() else None
        if before == target:
            return
        temporary = self.link.with_name(f".{self.link.name}.{os.getpid()}")
        with suppress(FileNotFoundError):
            temporary.unlink()
        temporary.symlink_to(target)
        os.replace(temporary, self.link)
        descriptor = os.open(self.link.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        kept = {release.name, "" if before is None else before.name}
        for old in self._releases.iterdir():
            if old.name not in kept:
                shutil.rmtree(old, ignore_errors=True)
