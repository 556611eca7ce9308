"""Frames that all of several rules select."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from shared_models.errors import InvalidValueError
from vehicle_client.selection import Candidate, Combination, Selection, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class AllOfConfig:
    """No settings of its own; its rules are given in `of`."""


class AllOfSelection(Combination):
    """Selects what every one of its rules selects; its score is the smallest of theirs."""

    name: ClassVar[str] = "all_of"
    config_class: ClassVar[type[Any]] = AllOfConfig

    def __init__(self, config: AllOfConfig, children: tuple[Selection, ...]) -> None:
        if not children:
            raise InvalidValueError("all_of: expected at least one rule")
        self.children = children

    @property
    def has_scores(self) -> bool:
        return any(child.has_scores for child in self.children)

    def judge(self, candidate: Candidate) -> Verdict:
        verdicts = [child.judge(candidate) for child in self.children]  # each rule sees every frame
        scores = [verdict.score for verdict in verdicts if verdict.score is not None]
        against = next((verdict for verdict in verdicts if not verdict.is_selected), None)
        return Verdict(
            is_selected=against is None,
            reason="; ".join(verdict.reason for verdict in verdicts) if against is None else against.reason,
            score=min(scores) if scores else None,
        )
