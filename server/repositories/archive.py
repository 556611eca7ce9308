"""A server's data folder, and reading what it holds.

    archive = open_archive(Path("data"))
    for stored in archive.catalogue.scenes():
        features = codecs.decode(archive.encoded(stored).payload)

The folder:

    DATA/catalogue.sqlite    which scenes are stored, and the log of training runs
    DATA/payloads, partial   see server/stores/files.py
    DATA/pseudonym.key       what vehicles' tags are made with, see server/repositories/pseudonym.py
    DATA/lock                held by the server that writes here
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from server.repositories.repository import SceneCatalogue, StoredScene
from server.repositories.run_log import RunLog
from server.repositories.sqlite import SqliteSceneCatalogue
from server.repositories.sqlite_run_log import SqliteRunLog
from server.stores.files import FilePayloadStore
from server.stores.store import PayloadStore
from shared_models.errors import NotFoundError, StorageError
from shared_models.records import EncodedScene

_CATALOGUE = "catalogue.sqlite"


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneArchive:
    """Catalogue and payloads that belong together."""

    catalogue: SceneCatalogue
    store: PayloadStore

    def encoded(self, stored: StoredScene) -> EncodedScene:
        """A stored scene with its payload, checked against its hash.

        Raises:
            NotFoundError: the payload is gone.
            StorageError: it is damaged or cannot be read.
        """
        return EncodedScene(manifest=stored.manifest, payload=self.store.read(stored.manifest.payload_sha256))

    def add(self, scene: EncodedScene, stored_at_ns: int) -> StoredScene:
        """Store a scene that is already on this machine; what is stored already stays as it is.

        Raises:
            StorageFullError, StorageError: it could not be made durable.
        """
        if not self.store.has(scene.manifest.payload_sha256):
            partial = self.store.open_partial(scene.manifest.scene_id)
            try:
                partial.append(scene.payload[partial.size :])  # goes on where a former attempt was cut off
                partial.commit()
            finally:
                partial.close()
        return self.catalogue.add(scene.manifest, stored_at_ns)

    def close(self) -> None:
        """Let go of the database."""
        self.catalogue.close()


def open_archive(directory: Path, is_new_allowed: bool = False) -> SceneArchive:
    """The archive in a server's data folder, read-only unless `is_new_allowed`.

    Reading is allowed while a server writes there and from a read-only disk; it changes nothing.

    Raises:
        NotFoundError: no server has stored anything there, and `is_new_allowed` is not set.
        StorageError: it cannot be opened.
    """
    path, is_read_only = _database(directory, is_new_allowed), not is_new_allowed
    return SceneArchive(
        catalogue=SqliteSceneCatalogue(path, is_read_only=is_read_only),
        store=FilePayloadStore(directory, is_read_only=is_read_only),
    )


def open_run_log(directory: Path, is_new_allowed: bool = False) -> RunLog:
    """The log of training runs in a server's data folder, read-only unless `is_new_allowed`.

    Writing is allowed while a server and other runs write there; `sole_writer` is for servers only.

    Raises:
        NotFoundError: there is nothing, and `is_new_allowed` is not set.
        StorageError: it cannot be opened.
    """
    return SqliteRunLog(_database(directory, is_new_allowed), is_read_only=not is_new_allowed)


def _database(directory: Path, is_new_allowed: bool) -> Path:
    path = directory / _CATALOGUE
    if not is_new_allowed and not path.is_file():
        raise NotFoundError(
            f"{directory}: no server data here; give the folder that `upcycle server serve --data` or "
            "`upcycle train --data` got"
        )
    return path


@contextmanager
def sole_writer(directory: Path) -> Iterator[None]:
    """Hold the folder as the only server that writes there.

    Raises:
        StorageError: another one does, or the folder cannot be made.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise StorageError(f"{directory}: {error.strerror}: choose another folder for the server's data") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StorageError(f"{directory}: another server is running on this folder: stop it first") from error
        yield
    finally:
        os.close(descriptor)
