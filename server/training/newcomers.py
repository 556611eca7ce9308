"""Scenes that came into the store since a run looked last: checked one by one, admitted or quarantined."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
import torch

from server.repositories.pseudonym import vehicle_tag
from server.repositories.repository import StoredScene
from server.training.admission import AdmissionConfig, Reason, Reference, Verdict
from server.training.follow_records import USABLE, FollowRecords, SceneDecision
from server.training.guarding import GuardedScenes
from server.training.labelled_data import LabelledFrames
from server.training.recipes.upcycling import Upcycling
from server.training.scene_statistics import scene_statistics
from server.training.stopping import StopRequest
from server.training.stored_features import StoredScenes
from shared_models import codecs
from shared_models.errors import InvalidValueError, NotFoundError, SenderError, StorageError
from shared_models.records import SceneFeatures

log = logging.getLogger(__name__)

TOGETHER: Final = 64  # decisions that are written at once


class HeldOutScenes:
    """Features of held-out labelled frames as a vehicle would have sent them, kept encoded in memory.

    They go through the guard of the scenes that the run learns from: without it, guarded scenes would look foreign.
    """

    def __init__(self, recipe: Upcycling, frames: LabelledFrames, config: AdmissionConfig) -> None:
        self._recipe, self._frames, self._config = recipe, frames, config
        self._guard = GuardedScenes(recipe.store_config.guard)
        self._payloads: list[bytes] = []

    def payloads(self) -> Sequence[bytes]:
        """One for each frame; made at the first call, because the vehicle part never changes."""
        if not self._payloads:
            names, most = self._frames.frame_ids, self._config.frames or len(self._frames)
            rows = np.linspace(0, len(names), min(most, len(names)), endpoint=False).astype(int)
            codec = self._recipe.store_config.codec
            self._payloads = [codecs.encode(self._features(names[row]), codec) for row in rows.tolist()]
        return self._payloads

    @torch.inference_mode()
    def _features(self, frame_id: str) -> SceneFeatures:
        points = torch.from_numpy(self._frames.scan(frame_id).points).to(self._recipe.setup.device)
        teacher = self._recipe.teacher
        return self._guard.apply(teacher.extract(points), teacher, frame_id).to("cpu")


class Newcomers:
    """Decides about the scenes of a store for one run. Each is checked once, with the teacher of that time."""

    def __init__(
        self,
        recipe: Upcycling,
        records: FollowRecords,
        held_out: HeldOutScenes,
        stop: StopRequest,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._recipe, self._records, self._held_out = recipe, records, held_out
        self._stop, self._clock_ns = stop, clock_ns
        self._config = recipe.setup.run.follow.admission
        self._reference: Reference | None = None

    def forget_teacher(self) -> None:
        """The teacher has changed: the held-out frames are looked at anew before the next check."""
        self._reference = None

    def look(self, round_number: int) -> StoredScenes:
        """The stored scenes that may be learned from, after every new one was checked.

        round_number: of the round that they would first be learned from in. A stop leaves the rest for the next look.

        Raises:
            ConfigError: too few held-out frames.
            DatasetError, StorageError: the records cannot be read or written.
        """
        stored, known = self._recipe.stored_now(), self._records.decisions()
        self._forget_removed(stored, known, round_number)
        new = [n for n, scene in enumerate(stored.scenes) if not _is_decided(known.get(scene.scene_id))]
        for start in range(0, len(new), TOGETHER):
            decisions = self._checked(stored, new[start : start + TOGETHER], round_number)
            self._records.decide(decisions)
            known.update({decision.scene_id: decision for decision in decisions})
        return stored.still(
            scene.scene_id
            for scene in stored.scenes
            if (decision := known.get(scene.scene_id)) is not None and decision.state in USABLE
        )

    def _forget_removed(self, stored: StoredScenes, known: Mapping[str, SceneDecision], round_number: int) -> None:
        there = {scene.scene_id for scene in stored.scenes}
        removed = [
            SceneDecision(
                scene_id=scene_id,
                vehicle=decision.vehicle,
                state="removed",
                round=round_number,
                at_ns=self._clock_ns(),
            )
            for scene_id, decision in known.items()
            if scene_id not in there and _is_decided(decision)
        ]
        if removed:
            self._records.forget(removed)

    def _checked(self, stored: StoredScenes, numbers: Sequence[int], round_number: int) -> list[SceneDecision]:
        found = []
        for number in numbers:
            if self._stop.is_wanted:
                break
            try:
                verdict = self.check(stored, number)
            except NotFoundError:  # deleted since we looked
                continue
            found.append(self._decision(stored.scenes[number], verdict, round_number))
        return found

    def check(self, stored: StoredScenes, number: int) -> Verdict:
        """Whether a stored scene is like the held-out frames; one that cannot be read is not.

        Raises:
            NotFoundError: it is not stored any more.
            ConfigError: too few held-out frames.
        """
        if self._reference is None:
            rows = [self._statistics(codecs.decode(payload)) for payload in self._held_out.payloads()]
            self._reference = Reference.of(rows, self._config)
        try:
            features = stored.features(number)
            values = features.grid.features
            if values.numel() and bool((values == values.flatten()[0]).all()):
                return Verdict.unreadable("all features are equal: no backbone makes such")
            return self._reference.judge(self._statistics(features))
        except (SenderError, StorageError, InvalidValueError) as error:
            return Verdict.unreadable(f"{type(error).__name__}: {str(error)[:200]}")

    @torch.inference_mode()
    def _statistics(self, features: SceneFeatures) -> dict[str, float]:
        recipe, teacher = self._recipe, self._recipe.teacher
        scene = features.to(recipe.setup.device)
        (candidates,) = teacher.candidates(teacher.batch_of([scene]))
        labels, groups = recipe.config.pseudo_labels, self._config.groups
        return scene_statistics(scene, candidates, labels, teacher.class_names, groups)

    def _decision(self, scene: StoredScene, verdict: Verdict, round_number: int) -> SceneDecision:
        if not verdict.is_sound:
            worst: Reason = verdict.reasons[0]
            log.warning("scene quarantined", extra={"scene": scene.scene_id[:12], "reason": worst.statistic[:120]})
        is_finite = np.isfinite(verdict.distance)
        return SceneDecision(
            scene_id=scene.scene_id,
            vehicle=vehicle_tag(scene.manifest.vehicle_id),
            state="admitted" if verdict.is_sound else "quarantined",
            round=round_number,
            at_ns=self._clock_ns(),
            distance=round(verdict.distance, 4) if is_finite else None,
            reasons=tuple(reason.to_dict() for reason in verdict.reasons),
        )


def _is_decided(decision: SceneDecision | None) -> bool:
    return decision is not None and decision.state != "removed"
