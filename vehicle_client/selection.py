"""Interface of the selections: which frames of a drive are worth sending. `selections/` has the table."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from shared_models.errors import InvalidValueError
from shared_models.records import Detections, Frame, SceneFeatures, check
from vehicle_client.priority import Priority

Need = Literal["detections"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One frame that may be sent.

    features: after the guard, as they would leave the vehicle.
    detections: the vehicle's own; None where the heads do not run.
    time_ns: when the scan was taken, nanoseconds since the epoch; the vehicle's clock where the frame has no time.
    """

    frame: Frame
    features: SceneFeatures
    detections: Detections | None
    time_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a rule says of one frame.

    score: how much it is worth, 0 to 1; None for rules that only say yes or no.
    reason: why, for the report; begins with the rule's name.
    """

    is_selected: bool
    reason: str
    score: float | None = None

    def __post_init__(self) -> None:
        if self.score is not None:
            check.number("Verdict", "score", self.score, 0.0, 1.0)

    @property
    def priority(self) -> Priority | None:
        """Priority class in the outbox, by the score's quarter; None without a score."""
        return None if self.score is None else Priority.of_score(self.score)


class Selection(ABC):
    """Looks at every frame of a drive, in order, and says which are worth sending.

    `judge` is called once for each frame, `accept` after it for each frame that is really sent (a budget may stand
    between). The same frames in the same order always give the same verdicts. Memory is bounded.
    """

    name: ClassVar[str]
    config_class: ClassVar[type[Any]]
    needs: ClassVar[frozenset[Need]] = frozenset()

    @property
    @abstractmethod
    def has_scores(self) -> bool:
        """Whether verdicts have scores, so that the best of several frames can be told."""

    @abstractmethod
    def judge(self, candidate: Candidate) -> Verdict:
        """Whether this frame is worth sending."""

    @abstractmethod
    def accept(self, candidate: Candidate) -> None:
        """This frame was sent."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """What has to be remembered over a restart, as plain values for JSON."""

    @abstractmethod
    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave.

        Raises:
            InvalidValueError: it is not of that form; nothing was changed.
        """

    def needed(self) -> frozenset[Need]:
        """What it needs of a candidate beyond frame and features."""
        return self.needs


class Combination(Selection):
    """A selection made of others, which are given when it is built."""

    children: tuple[Selection, ...]

    @abstractmethod
    def __init__(self, config: Any, children: tuple[Selection, ...]) -> None:
        """Raises:
        InvalidValueError: there are no children.
        """

    def accept(self, candidate: Candidate) -> None:
        for child in self.children:
            child.accept(candidate)

    def state(self) -> dict[str, Any]:
        return {"children": [child.state() for child in self.children]}

    def restore(self, state: Mapping[str, Any]) -> None:
        states = state.get("children")
        if not isinstance(states, list) or len(states) != len(self.children):
            raise InvalidValueError(f"{self.name}: expected the states of {len(self.children)} rules, got {states!r}")
        for child, own in zip(self.children, states, strict=True):
            child.restore(own)

    def needed(self) -> frozenset[Need]:
        return frozenset[Need]().union(*(child.needed() for child in self.children))


def number_of(name: str, state: Mapping[str, Any], field: str, low: float = 0.0) -> float:
    """A finite number of a saved state.

    Raises:
        InvalidValueError: it is missing, no number, or below `low`.
    """
    value = state.get(field) if isinstance(state, Mapping) else None
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise InvalidValueError(f"{name}.{field}: expected a number in the saved state, got {value!r}")
    check.number(name, field, value, low, 1e300)
    return value
