"""From a payload that has come in whole to a scene that is durable; all of it blocks and belongs into a thread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from server.ingest.group_commit import GroupCommit
from server.ingest.header import PayloadCheck
from server.ingest.placing import Placing
from server.ingest.quotas import VehicleQuotas
from server.repositories.pseudonym import Pseudonyms
from server.repositories.repository import SceneCatalogue, StoredScene
from server.stores.store import PartialPayload, PayloadStore
from shared_models.errors import IntegrityError, NotFoundError, ProtocolError, SenderError, StorageError
from shared_models.records import SceneManifest


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A scene that is durable."""

    scene: StoredScene
    was_already_stored: bool


class Completion:
    """Checks payloads and places them; shared by all streams of a server."""

    def __init__(
        self,
        store: PayloadStore,
        catalogue: SceneCatalogue,
        check_payload: PayloadCheck,
        quotas: VehicleQuotas,
        pseudonyms: Pseudonyms | None,
        clock_ns: Callable[[], int],
    ) -> None:
        self._store, self._catalogue = store, catalogue
        self.rows, self.check_payload, self.quotas = GroupCommit(catalogue), check_payload, quotas
        self._pseudonyms, self._clock_ns = pseudonyms, clock_ns
        self.placing = Placing(store, catalogue)

    def complete(
        self, scene_id: str, manifest: SceneManifest, partial: PartialPayload, rest: bytes = b""
    ) -> StoredScene:
        """Make the scene durable; `partial` is closed afterwards, whatever comes of it.

        rest: what has come and is not written yet.

        Raises:
            ProtocolError: incomplete (what came is kept).
            SenderError: hash or header do not fit the manifest (what came is dropped).
            StorageError, StorageFullError: it cannot be made durable.
        """
        try:
            return self._complete(scene_id, manifest, partial, rest)
        finally:
            partial.close()

    def left_by_a_crash(self, manifest: SceneManifest) -> bytes:
        """The scene's payload where a server was killed after it had placed it and before it had added the row; or b"".

        So nothing is sent again that is here already. Of payloads that a scene has nothing is told.
        """
        sha256 = manifest.payload_sha256
        if not self._store.has(sha256) or self._catalogue.has_payload(sha256):
            return b""
        try:
            payload = self._store.read(sha256)
        except (NotFoundError, StorageError):
            return b""  # damaged or gone meanwhile: it comes again
        return payload if len(payload) == manifest.payload_bytes else b""

    def _complete(self, scene_id: str, manifest: SceneManifest, partial: PartialPayload, rest: bytes) -> StoredScene:
        if rest:
            partial.append(rest)
        if partial.size != manifest.payload_bytes:
            raise ProtocolError(
                f"frame {manifest.frame_id}: finished after {partial.size} of {manifest.payload_bytes} bytes; "
                "begin it again and go on there"
            )
        try:
            guard = self._check_content(manifest, partial, rest)
        except SenderError:
            partial.discard()
            raise
        with self.placing.of(manifest.payload_sha256):
            partial.commit()
            stored = self.rows.add(self.row(scene_id, manifest, guard))
        self.quotas.add(manifest.vehicle_id, manifest.payload_bytes)
        return stored

    def row(self, scene_id: str, manifest: SceneManifest, guard: str) -> StoredScene:
        """What the catalogue is to remember of a scene that is made durable now."""
        now_ns = self._clock_ns()
        if self._pseudonyms is not None:
            manifest = replace(manifest, vehicle_id=self._pseudonyms.stored_name(manifest.vehicle_id, now_ns))
        return StoredScene(manifest=manifest, stored_at_ns=now_ns, scene_id=scene_id, guard=guard)

    def _check_content(self, manifest: SceneManifest, partial: PartialPayload, rest: bytes) -> str:
        """The guard that the payload's header names; "" where nobody looked."""
        # What came in one chunk is at hand; others are read before their hash is asked for: one reading for both.
        payload = rest if len(rest) == manifest.payload_bytes else partial.read()
        check_sha256(manifest, partial.sha256)
        return self.check_payload(manifest, payload) or ""


def check_sha256(manifest: SceneManifest, actual: str) -> None:
    """Raises IntegrityError: the bytes that came are not those that the manifest declares."""
    if actual != manifest.payload_sha256:
        raise IntegrityError(
            f"frame {manifest.frame_id}: SHA-256 {manifest.payload_sha256[:12]} declared, {actual[:12]} received; "
            "send it again from the start"
        )
