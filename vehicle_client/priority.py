"""How urgent a scene is to the server: four classes with names, in the order in which they are sent and evicted."""

from __future__ import annotations

from enum import IntEnum

from shared_models.errors import UnknownNameError
from shared_models.records import check


class Priority(IntEnum):
    """Class of a scene in the outbox.

    Sent first: the highest class, and within a class the scene that was put first. Evicted first, where the outbox is
    full: the lowest class, and within it the scene that was put first; never a class above the new scene's own.

    LOW: nice to have; a rule's score below 0.25.
    ROUTINE: what nobody has judged: no selection, or a rule without scores; a score from 0.25 on.
    HIGH: a score from 0.5 on.
    URGENT: a score from 0.75 on.
    """

    LOW = 0
    ROUTINE = 1
    HIGH = 2
    URGENT = 3

    @classmethod
    def of_score(cls, score: float) -> Priority:
        """The class of a selection's score, 0 to 1: four equal steps.

        Raises:
            InvalidValueError: the score is not 0 to 1.
        """
        check.number("Priority", "score", score, 0.0, 1.0)
        return cls(min(len(cls) - 1, int(score * len(cls))))

    @classmethod
    def of_name(cls, name: str) -> Priority:
        """The class of that name, in small letters.

        Raises:
            UnknownNameError: there is none.
        """
        known = {each.name.lower(): each for each in cls}
        if name not in known:
            raise UnknownNameError("priority", name, known)
        return known[name]
