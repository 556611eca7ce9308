"""A server's data folder, and reading what it holds.

    archive = open_archive(Path("data"))
    for stored in archive.catalogue.scenes():
        features = codecs.decode(archive.encoded(stored).payload)

The folder:

    DATA/catalogue.sqlite    which scenes are stored, the log of access, and the log of training runs
    DATA/payloads, segments, partial   see server/stores/files.py
    DATA/pseudonym.key       what vehicles' tags are made with, see server/repositories/pseudonym.py
    DATA/lock                held by the server that writes here

With a `StoreConfig` the catalogue is in PostgreSQL and the payloads in an object store; see docs/stores.md.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from server.repositories.access_log import local_actor
from server.repositories.postgres import PostgresDatabase, Writers
from server.repositories.repository import SceneCatalogue, StoredScene
from server.repositories.run_log import RunLog
from server.repositories.sql_catalogue import SqlSceneCatalogue
from server.repositories.sql_run_log import SqlRunLog
from server.repositories.sqlite import SqliteFile
from server.repositories.store_config import StoreConfig
from server.stores.files import FilePayloadStore
from server.stores.placed_files import sync_directory
from server.stores.s3 import S3PayloadStore
from server.stores.s3_bucket import Bucket, S3Config
from server.stores.store import PayloadStore
from shared_models import codecs
from shared_models.errors import NotFoundError, SenderError, StorageError
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
        with self.store.hold(scene.manifest.payload_sha256):
            if not self.store.has(scene.manifest.payload_sha256):
                self._place(scene)
            guard = _guard_of(scene.payload)
            return self.catalogue.add(scene.manifest, stored_at_ns, actor=local_actor(), guard=guard)

    def _place(self, scene: EncodedScene) -> None:
        partial = self.store.open_partial(scene.manifest.scene_id)
        try:
            partial.append(scene.payload[partial.size :])  # goes on where a former attempt was cut off
            partial.commit()
        finally:
            partial.close()

    def close(self) -> None:
        """Let go of the database and the payloads."""
        self.catalogue.close()
        self.store.close()


def open_archive(directory: Path, is_new_allowed: bool = False, stores: StoreConfig | None = None) -> SceneArchive:
    """The archive in a server's data folder, or where `stores` says; read-only unless `is_new_allowed`.

    stores: None stands for what the environment says (`StoreConfig.from_environment`).

    Reading is allowed while a server writes there and from a read-only disk; it changes nothing.

    Raises:
        NotFoundError: no server has stored anything there, and `is_new_allowed` is not set.
        ConfigError: `stores` cannot be used as it is. MissingDependencyError: what it needs is not installed.
        StorageError: it cannot be opened.
    """
    stores, is_read_only = stores or StoreConfig.from_environment(), not is_new_allowed
    if not stores.catalogue_url:
        file = SqliteFile(_database(directory, is_new_allowed), is_read_only=is_read_only)
        return SceneArchive(catalogue=SqlSceneCatalogue(file), store=FilePayloadStore(directory, is_read_only))
    database = PostgresDatabase(stores.catalogue_url, is_read_only=is_read_only)
    try:
        store = _open_bucket(stores, database) if stores.payloads_url else FilePayloadStore(directory, is_read_only)
    except BaseException:
        database.close()
        raise
    return SceneArchive(catalogue=SqlSceneCatalogue(database), store=store)


def _open_bucket(stores: StoreConfig, database: PostgresDatabase) -> PayloadStore:
    bucket, prefix = stores.bucket_and_prefix
    return S3PayloadStore(Bucket(S3Config(bucket=bucket, prefix=prefix, endpoint=stores.s3_endpoint)), database.hold)


def open_run_log(directory: Path, is_new_allowed: bool = False, stores: StoreConfig | None = None) -> RunLog:
    """The log of training runs in a server's data folder, or where `stores` says; read-only unless `is_new_allowed`.

    Writing is allowed while a server and other runs write there; `sole_writer` is for servers only.

    Raises:
        NotFoundError: there is nothing, and `is_new_allowed` is not set.
        StorageError: it cannot be opened.
    """
    # Not every commit synced: training should not wait for the disk. Commits survive the end of the process, and after
    # a power cut a run resumes from a checkpoint and writes the lost steps again.
    url, is_read_only = (stores or StoreConfig.from_environment()).catalogue_url, not is_new_allowed
    if url:
        return SqlRunLog(
            PostgresDatabase(url, is_read_only=is_read_only, is_every_commit_synced=False, writers=Writers.RUN_LOG)
        )
    return SqlRunLog(
        SqliteFile(
            _database(directory, is_new_allowed),
            busy_timeout_s=30.0,
            is_read_only=is_read_only,
            is_every_commit_synced=False,
        )
    )


def _database(directory: Path, is_new_allowed: bool) -> Path:
    path = directory / _CATALOGUE
    if not is_new_allowed and not path.is_file():
        raise NotFoundError(
            f"{directory}: no server data here; give the folder that `upcycle server serve --data` or "
            "`upcycle train --data` got"
        )
    return path


@contextmanager
def writer(directory: Path, stores: StoreConfig) -> Iterator[None]:
    """Hold the folder as `sole_writer` does, unless nothing but the key of the pseudonyms is kept there.

    Raises:
        StorageError: as `sole_writer`.
    """
    if not stores.is_shared:
        with sole_writer(directory):
            yield
        return
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{directory}: {error.strerror}: choose another folder for the server's data") from error
    yield


@contextmanager
def sole_writer(directory: Path) -> Iterator[None]:
    """Hold the folder as the only server that writes there.

    Raises:
        StorageError: another one does, or the folder cannot be made.
    """
    try:
        _make_directory(directory)
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


def _make_directory(path: Path) -> None:
    """Make a folder and those above it, each synced, or a power cut could take all that was stored below."""
    if path.is_dir():
        return
    _make_directory(path.parent)
    path.mkdir(exist_ok=True)
    sync_directory(path.parent)


def _guard_of(payload: bytes) -> str:
    try:
        return codecs.read_header(payload).guard_or_none
    except SenderError:
        return ""  # not of this project: what is stored from this machine is not checked
