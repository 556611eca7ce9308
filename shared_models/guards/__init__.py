"""The table of guards."""

from __future__ import annotations

from shared_models import table
from shared_models.guard import Guard

GUARDS = {
    "none": "shared_models.guards.none:NoGuard",
}


def build(name: str) -> Guard:
    """The guard called `name`, with its default configuration.

    Raises:
        UnknownNameError: there is no such guard; the message lists the known ones.
    """
    guard: Guard = table.load(GUARDS, "guard", name)()
    return guard
