"""How a vehicle is named where its plain id must not stand: in logs, listings and pages."""

from __future__ import annotations

import hashlib


def vehicle_tag(vehicle_id: str) -> str:
    """Eight hexadecimal digits for one vehicle id; whoever can guess the id can find the tag."""
    return hashlib.sha256(f"upcycle.vehicle-tag.v1\n{vehicle_id}".encode()).hexdigest()[:8]
