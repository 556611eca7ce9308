"""From a payload that has come in whole to a scene that is durable; all of it blocks and belongs into a thread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from server.ingest.header import PayloadCheck
from server.ingest.placing import Placing
from server.ingest.quotas import VehicleQuotas
from server.repositories.pseudonym import Pseudonyms
from server.repositories.repository import SceneCatalogue, StoredScene
from server.stores.store import PartialPayload, PayloadStore
from shared_models.errors import IntegrityError, ProtocolError, SenderError
from shared_models.records import SceneManifest


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
        self._catalogue, self._check_payload, self._quotas = catalogue, check_payload, quotas
        self._pseudonyms, self._clock_ns = pseudonyms, clock_ns
        self.placing = Placing(store, catalogue)

    def complete(self, manifest: SceneManifest, partial: PartialPayload) -> StoredScene:
        """Make the scene durable; `partial` is closed afterwards, whatever comes of it.

        Raises:
            ProtocolError: incomplete (what came is kept).
            SenderError: hash or header do not fit the manifest (what came is dropped).
            StorageError, StorageFullError: it cannot be made durable.
        """
        try:
            return self._complete(manifest, partial)
        finally:
            partial.close()

    def _complete(self, manifest: SceneManifest, partial: PartialPayload) -> StoredScene:
        if partial.size != manifest.payload_bytes:
            raise ProtocolError(
                f"frame {manifest.frame_id}: finished after {partial.size} of {manifest.payload_bytes} bytes; "
                "begin it again and go on there"
            )
        try:
            self._check_content(manifest, partial)
        except SenderError:
            partial.discard()
            raise
        with self.placing.of(manifest.payload_sha256):
            partial.commit()
            stored = self._add_row(manifest)
        self._quotas.add(manifest.vehicle_id, manifest.payload_bytes)
        return stored

    def _add_row(self, manifest: SceneManifest) -> StoredScene:
        now_ns = self._clock_ns()
        if self._pseudonyms is None:
            return self._catalogue.add(manifest, now_ns)
        stored_name = self._pseudonyms.stored_name(manifest.vehicle_id, now_ns)
        return self._catalogue.add(replace(manifest, vehicle_id=stored_name), now_ns, manifest.scene_id)

    def _check_content(self, manifest: SceneManifest, partial: PartialPayload) -> None:
        if partial.sha256 != manifest.payload_sha256:
            raise IntegrityError(
                f"frame {manifest.frame_id}: SHA-256 {manifest.payload_sha256[:12]} declared, {partial.sha256[:12]} "
                "received; send it again from the start"
            )
        self._check_payload(manifest, partial.read())
