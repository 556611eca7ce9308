"""Families of attacks by their kind; each is imported only when it is asked for."""

from __future__ import annotations

from server.audit.attack import Attack
from server.audit.family import Family
from shared_models.errors import ConfigError
from shared_models.table import load

FAMILIES = {
    "reconstruction": "server.audit.families.reconstruction:ReconstructionFamily",
    "detector": "server.audit.families.objects:ObjectFamily",
    "retrieval": "server.audit.families.retrieval:RetrievalFamily",
    "membership": "server.audit.families.membership:MembershipFamily",
    "property": "server.audit.families.properties:PropertyFamily",
}


def family_of(attack: Attack) -> Family:
    """The family that runs `attack`.

    Raises:
        ConfigError: there is none.
    """
    for kind in FAMILIES:
        found: type[Family] = load(FAMILIES, "family of attacks", kind)
        if isinstance(attack, found.attack_class):
            return found()
    raise ConfigError(f"attack {attack.name}: no family runs it; known: {', '.join(FAMILIES)}")
