"""What is open, and what was left half-sent, of each vehicle: plain counting, so that it can be asked at each scene."""

from __future__ import annotations

from dataclasses import dataclass, field

from server.ingest.refusals import TryLaterError
from shared_models.records import SceneManifest


@dataclass(slots=True)
class _Share:
    """One vehicle's. open_bytes: declared; kept: bytes held of scenes that no stream has open, oldest first."""

    open_scenes: int = 0
    open_bytes: int = 0
    kept: dict[str, int] = field(default_factory=dict)
    kept_bytes: int = 0


class HalfSent:
    """Counts since the server's start; what was kept before has no owner and falls under the server's bounds only."""

    def __init__(self, vehicle_bytes: int, kept_count: int) -> None:
        """vehicle_bytes: limit of each vehicle, 0: none. kept_count: kept payloads to remember, of all vehicles."""
        self._limit, self._kept_count = vehicle_bytes, kept_count
        self._shares: dict[str, _Share] = {}
        self._owners: dict[str, tuple[str, float]] = {}  # of kept scenes, and when they were left, in that order
        self.open_scenes = self.open_bytes = self.kept_bytes = 0

    def opening_bytes(self, vehicle_id: str) -> int:
        """Declared bytes of the vehicle's open scenes."""
        share = self._shares.get(vehicle_id)
        return share.open_bytes if share else 0

    def admit(self, manifest: SceneManifest) -> list[str]:
        """Scene ids of the same vehicle whose half-sent payloads have to be dropped to make room for this scene.

        Raises:
            TryLaterError: its open scenes alone leave no room.
        """
        share, size = self._shares.get(manifest.vehicle_id), manifest.payload_bytes
        if share is None or not self._limit:
            return []
        # One scene is always let in, or a limit below the largest payload would refuse it for ever.
        if share.open_scenes and share.open_bytes + size > self._limit:
            raise TryLaterError("this vehicle has too many bytes under way: finish a scene first", 1.0, "half_sent")
        over = share.open_bytes + share.kept_bytes - share.kept.get(manifest.scene_id, 0) + size - self._limit
        dropped = []
        for scene_id, held in share.kept.items():
            if over <= 0:
                break
            if scene_id != manifest.scene_id:
                dropped.append(scene_id)
                over -= held
        for scene_id in dropped:
            self._take_kept(scene_id)
        return dropped

    def open(self, manifest: SceneManifest) -> None:
        """A stream has begun this scene."""
        self._take_kept(manifest.scene_id)
        share = self._shares.setdefault(manifest.vehicle_id, _Share())
        share.open_scenes, share.open_bytes = share.open_scenes + 1, share.open_bytes + manifest.payload_bytes
        self.open_scenes, self.open_bytes = self.open_scenes + 1, self.open_bytes + manifest.payload_bytes

    def close(self, manifest: SceneManifest, held: int, now_s: float) -> None:
        """It is not open any more, and so many bytes of it are kept; `now_s` of a steady clock."""
        share = self._shares[manifest.vehicle_id]
        share.open_scenes, share.open_bytes = share.open_scenes - 1, share.open_bytes - manifest.payload_bytes
        self.open_scenes, self.open_bytes = self.open_scenes - 1, self.open_bytes - manifest.payload_bytes
        if held and manifest.scene_id not in self._owners:
            self._owners[manifest.scene_id] = manifest.vehicle_id, now_s
            share.kept[manifest.scene_id] = held
            share.kept_bytes, self.kept_bytes = share.kept_bytes + held, self.kept_bytes + held
            if len(self._owners) > self._kept_count:
                self._take_kept(next(iter(self._owners)))
        self._tidy(manifest.vehicle_id)

    def expire(self, before_s: float) -> None:
        """Forget what was left before that time: the server drops it."""
        while self._owners:
            scene_id, (_, left_s) = next(iter(self._owners.items()))
            if left_s >= before_s:
                return
            self._take_kept(scene_id)

    def _take_kept(self, scene_id: str) -> None:
        vehicle_id, _ = self._owners.pop(scene_id, (None, 0.0))
        if vehicle_id is not None:
            share = self._shares[vehicle_id]
            held = share.kept.pop(scene_id)
            share.kept_bytes, self.kept_bytes = share.kept_bytes - held, self.kept_bytes - held
            self._tidy(vehicle_id)

    def _tidy(self, vehicle_id: str) -> None:
        share = self._shares[vehicle_id]
        if not share.open_scenes and not share.kept:
            del self._shares[vehicle_id]
