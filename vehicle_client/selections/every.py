"""Every n-th frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from shared_models.records import check
from vehicle_client.selection import Candidate, Selection, Verdict, number_of


@dataclass(frozen=True, slots=True, kw_only=True)
class EveryConfig:
    """n: one of so many frames, beginning with the first."""

    n: int = 10

    def __post_init__(self) -> None:
        check.count("EveryConfig", "n", self.n, 1_000_000_000)


class EverySelection(Selection):
    """The first frame and every n-th after it, whatever was sent of them; a restart goes on counting."""

    name: ClassVar[str] = "every"
    config_class: ClassVar[type[Any]] = EveryConfig

    def __init__(self, config: EveryConfig) -> None:
        self._n, self._position = config.n, 0

    @property
    def has_scores(self) -> bool:
        return False

    def judge(self, candidate: Candidate) -> Verdict:
        position, self._position = self._position, (self._position + 1) % self._n
        return Verdict(is_selected=position == 0, reason=f"every: one of {self._n} frames")

    def accept(self, candidate: Candidate) -> None:
        pass

    def state(self) -> dict[str, Any]:
        return {"position": self._position}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._position = int(number_of(self.name, state, "position")) % self._n
