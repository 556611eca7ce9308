"""The interface of attack families: how one kind of attack is run and what is reported of it.

Implementations and their table are in `server.audit.families`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from server.audit.attack import Attack
from server.audit.audit_config import AttackConfig
from server.audit.stage import Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one attack found.

    groups: numbers of each group, as docs/audit-report.schema.json has them. preparing_s: seconds before the first
    victim. asked_about: groups of scenes of its own that it was asked about, as `server.audit.report.about_group`.
    clouds: what is kept for pictures.
    """

    groups: Mapping[str, Any]
    preparing_s: float
    asked_about: tuple[Mapping[str, Any], ...] = ()
    clouds: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)


class Family(ABC):
    """kind: word for reports. attack_class: what its attacks are."""

    kind: ClassVar[str]
    attack_class: ClassVar[type[Attack]]

    @abstractmethod
    def run(self, attack: Attack, entry: AttackConfig, stage: Stage) -> Outcome:
        """Prepare the attack, show it the victims, measure what it gives.

        Raises:
            ConfigError: too few scenes, or a checkpoint that does not fit.
            UpcycleError: whatever data or the attack raise.
        """
