"""Why scenes are removed from a catalogue."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from server.repositories.access_log import Action, Detail, local_actor


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """Who deletes scenes, and what for.

    actor, at_ns: as in `Event`.
    action: DELETE where somebody asked for it, RETENTION where their time has come.
    where: which scenes were asked for, for the log: without plain names.
    is_refused_again: the scenes are not taken any more when a vehicle sends them again.
    """

    actor: str = field(default_factory=local_actor)
    at_ns: int = field(default_factory=time.time_ns)
    action: Action = Action.DELETE
    where: Detail = field(default_factory=dict)
    is_refused_again: bool = False
