"""Frames that any of several rules select."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from shared_models.errors import InvalidValueError
from vehicle_client.selection import Candidate, Combination, Selection, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class AnyOfConfig:
    """No settings of its own; its rules are given in `of`."""


class AnyOfSelection(Combination):
    """Selects what one of its rules selects; its score is the largest of theirs that do."""

    name: ClassVar[str] = "any_of"
    config_class: ClassVar[type[Any]] = AnyOfConfig

    def __init__(self, config: AnyOfConfig, children: tuple[Selection, ...]) -> None:
        if not children:
            raise InvalidValueError("any_of: expected at least one rule")
        self.children = children

    @property
    def has_scores(self) -> bool:
        return any(child.has_scores for child in self.children)

    def judge(self, candidate: Candidate) -> Verdict:
        verdicts = [child.judge(candidate) for child in self.children]  # each rule sees every frame
        chosen = [verdict for verdict in verdicts if verdict.is_selected] or verdicts
        scores = [verdict.score for verdict in chosen if verdict.score is not None]
        return Verdict(
            is_selected=any(verdict.is_selected for verdict in verdicts),
            reason="; ".join(verdict.reason for verdict in chosen),
            score=max(scores) if scores else None,
        )
