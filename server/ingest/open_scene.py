"""A scene while one stream sends it."""

from __future__ import annotations

import asyncio

from server.stores.store import PartialPayload
from shared_models.errors import ServerUnreachableError
from shared_models.records import SceneManifest


class OpenScene:
    """A scene that one stream is sending. `lock` is held while anything happens to it.

    begun_s: when it was begun, seconds of the intake's steady clock.
    held_bytes: what is kept of it when it is open no more.
    is_counted: whether it counts among its vehicle's open scenes.
    """

    def __init__(self, manifest: SceneManifest, begun_s: float = 0.0) -> None:
        self.manifest, self.begun_s = manifest, begun_s
        self.scene_id = manifest.scene_id  # computed once: it is a hash
        self.lock = asyncio.Lock()
        self.partial: PartialPayload | None = None
        self.held_bytes, self.is_counted = 0, False

    def held(self) -> PartialPayload:
        """What has come in.

        Raises:
            ServerUnreachableError: another stream has begun this scene since, or the store gave it up.
        """
        if self.partial is None:
            raise ServerUnreachableError(f"scene {self.scene_id[:12]} is being sent on another stream; begin it again")
        return self.partial
