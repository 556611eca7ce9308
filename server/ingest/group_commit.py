"""Rows of scenes that finish at about the same time share one transaction, and so one sync of the database's file."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from server.repositories.repository import SceneCatalogue, StoredScene
from shared_models.errors import PermissionDeniedError, StorageError, StorageFullError, UpcycleError

_Outcome = StoredScene | PermissionDeniedError | StorageError | StorageFullError


@dataclass(slots=True)
class _Waiting:
    """A scene whose thread waits for its row. outcome: None where it has to be added by itself."""

    scene: StoredScene
    is_done: bool = False
    outcome: _Outcome | None = None


class GroupCommit:
    """Adds scenes to `catalogue` for many threads.

    One of the threads commits what has queued up, its own scene included, and those that come meanwhile wait for the
    next transaction. So nobody waits for company: a scene that comes alone is committed at once.
    """

    def __init__(self, catalogue: SceneCatalogue) -> None:
        self._catalogue = catalogue
        self._changed = threading.Condition()  # guards all below
        self._queue: list[_Waiting] = []
        self._is_committing = False

    def add(self, scene: StoredScene) -> StoredScene:
        """As `SceneCatalogue.add`, which it does.

        Raises:
            StorageFullError, StorageError, PermissionDeniedError: as there.
        """
        mine = _Waiting(scene)
        batch = self._wait(mine)
        if batch:
            self._commit(batch)
        if mine.outcome is None:
            return self._catalogue.add(scene.manifest, scene.stored_at_ns, scene.scene_id, guard=scene.guard)
        if isinstance(mine.outcome, StoredScene):
            return mine.outcome
        raise mine.outcome

    def add_all(self, scenes: list[StoredScene]) -> list[StoredScene | UpcycleError]:
        """Several at once, in a transaction of their own; one outcome for each, the very object where it is new."""
        if len(scenes) == 1:
            return [self._with_others(scenes[0])]
        found = self._outcomes(scenes) if scenes else []
        return [self._alone(s) if outcome is None else outcome for s, outcome in zip(scenes, found, strict=True)]

    def _with_others(self, scene: StoredScene) -> StoredScene | UpcycleError:
        try:
            return self.add(scene)
        except (StorageError, StorageFullError, PermissionDeniedError) as error:
            return error

    def _alone(self, scene: StoredScene) -> StoredScene | UpcycleError:
        try:
            (outcome,) = self._catalogue.add_many([scene])
        except (StorageError, StorageFullError) as error:
            return error
        return outcome

    def _wait(self, mine: _Waiting) -> list[_Waiting]:
        """Until `mine` is done, or its thread has to commit what is returned."""
        with self._changed:
            self._queue.append(mine)
            self._changed.wait_for(lambda: mine.is_done or not self._is_committing)
            if mine.is_done:
                return []
            batch, self._queue = self._queue, []
            self._is_committing = True
            return batch

    def _commit(self, batch: list[_Waiting]) -> None:
        try:
            for each, outcome in zip(batch, self._outcomes([each.scene for each in batch]), strict=True):
                each.outcome = outcome
        finally:
            with self._changed:
                self._is_committing = False
                for each in batch:
                    each.is_done = True
                self._changed.notify_all()

    def _outcomes(self, scenes: list[StoredScene]) -> Sequence[_Outcome | None]:
        try:
            return self._catalogue.add_many(scenes)
        except (StorageError, StorageFullError) as error:
            # One scene's trouble is not its neighbours': of several each tries by itself, in its own thread.
            return [error] if len(scenes) == 1 else [None] * len(scenes)
