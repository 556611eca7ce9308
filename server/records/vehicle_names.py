"""Under which names a vehicle stands in the catalogue and in the log, from its plain name."""

from __future__ import annotations

import time
from pathlib import Path

from server.repositories.pseudonym import Pseudonyms, open_pseudonyms, vehicle_tag
from server.repositories.repository import SceneCatalogue
from shared_models.errors import NotFoundError


def stored_names(catalogue: SceneCatalogue, vehicle: str, pseudonyms: Pseudonyms | None) -> frozenset[str]:
    """The catalogue's names under which something of `vehicle` is stored.

    vehicle: its plain name, a name in the catalogue (`tag:` and the tag), or a tag as `upcycle server ls` shows it.
    pseudonyms: None where there is no key; a plain name's tags cannot be found then.

    Raises:
        NotFoundError: nothing is stored under any of them.
    """
    found = names_held(catalogue, vehicle, pseudonyms)
    if found:
        return found
    if pseudonyms is None:
        raise NotFoundError(
            f"nothing is stored under the name {vehicle!r}, and without the key of the pseudonyms nobody can tell "
            "which tags are its; give the tag of `upcycle server ls`"
        )
    raise NotFoundError(f"nothing is stored of a vehicle {vehicle!r}; `upcycle server ls` lists the tags")


def names_held(catalogue: SceneCatalogue, vehicle: str, pseudonyms: Pseudonyms | None) -> frozenset[str]:
    """As `stored_names`, and nothing where nothing is stored."""
    vehicles = catalogue.vehicles()
    possible = possible_names(vehicle, pseudonyms, max((each.last_stored_at_ns for each in vehicles), default=0))
    return frozenset(
        each.vehicle_id for each in vehicles if each.vehicle_id in possible or vehicle_tag(each.vehicle_id) == vehicle
    )


def possible_names(vehicle: str, pseudonyms: Pseudonyms | None, until_ns: int = 0) -> frozenset[str]:
    """Every name under which scenes of `vehicle` may have been stored until now, or `until_ns` where that is later."""
    if pseudonyms is None:
        return frozenset({vehicle})
    newest = pseudonyms.period(max(time.time_ns(), until_ns))
    starts = (pseudonyms.starts_ns(period) for period in range(newest + 1))
    return frozenset({vehicle, *(pseudonyms.stored_name(vehicle, start_ns) for start_ns in starts)})


def known_pseudonyms(data: Path) -> Pseudonyms | None:
    """The pseudonyms of a server's data folder; None where there is no key.

    Raises:
        ConfigError: the key is malformed, or others than its owner can read it.
    """
    try:
        return open_pseudonyms(data)
    except NotFoundError:
        return None
