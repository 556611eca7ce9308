"""Scope with hashes, victims, and the threat model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from server.audit.page.markup import Amount, Markup, facts, paragraph, section, table, tag
from server.audit.page.numbers import NOTHING, shown

ABILITIES: Final = {
    "white_box": "the detector with all weights",
    "query": "a vehicle that answers with the payload of any scan it is shown",
    "paired": "scans of the attacker's own with their payloads",
    "reference": "labelled payloads of the attacker's own to compare with",
}
UNITS: Final = {
    "steps": "training steps",
    "seconds": "seconds for each attack",
    "scenes": "own scans",
    "queries": "queries",
}
# what the table of the scope has lines of its own for
SCOPE: Final = ("detector", "weights", "split_layer", "codec", "guard", "point_range_m", "cell_size_m", "guard_effect")
HASHES: Final = ("backbone_hash", "guard_hash", "config_sha256", "code_sha256")
HASH_NAMES: Final = {
    "backbone_hash": "frozen backbone",
    "guard_hash": "guard and settings",
    "config_sha256": "configuration",
    "code_sha256": "auditor's code",
}


def scope_section(report: Mapping[str, Any]) -> Markup:
    """Exactly what was audited."""
    scope = report["scope"]
    low, high = scope["point_range_m"][:3], scope["point_range_m"][3:]
    axes = zip("xyz", low, high, strict=True)
    pairs: list[tuple[str, object]] = [
        ("detector", scope["detector"]),
        ("weights", scope["weights"]),
        ("layer", scope["split_layer"]),
        ("codec", scope["codec"]),
        ("guard", scope["guard"]),
        ("range, m", ", ".join(f"{axis} {start:g} to {end:g}" for axis, start, end in axes)),
        ("size of a cell, m", " × ".join(f"{size:g}" for size in scope["cell_size_m"])),
        ("audit", f"{report['audit_id']} ({report['name']}, {report['effort']}, seed {report['seed']})"),
    ]
    pairs += [(f"SHA-256, {HASH_NAMES[name]}", tag("code", scope[name])) for name in HASHES if name in scope]
    effect = scope.get("guard_effect")
    if effect:
        pairs.append(("payloads that the guard changed", f"{effect['changed']:,} of {effect['payloads']:,}"))
    pairs.append(("made", report.get("made_at", "not stated")))
    known = {
        "guard_effect",
        "detector",
        "weights",
        "split_layer",
        "codec",
        "guard",
        "point_range_m",
        "cell_size_m",
        *HASHES,
    }
    pairs += [(name.replace("_", " "), value) for name, value in scope.items() if name not in known]
    return section("scope", "Scope", facts("What was audited", pairs), _victims(report), _attacker(report))


def threat_section(report: Mapping[str, Any]) -> Markup:
    """What each attacker has."""
    intro = (
        "Every attacker has the stored payloads, exactly as guard and codec left them, and the public code. Each "
        "threat adds what its row says; nothing else reaches an attack. Only the measures see the scans behind them."
    )
    names = sorted({key for threat in report["threats"] for key in threat["budget"]}, key=_order)
    heads = ["threat", "has beside stored payloads", "own data come from", *(UNITS.get(name, name) for name in names)]
    rows = [
        [
            threat["name"],
            "; ".join(ABILITIES.get(word, word) for word in threat["gives"]) or "nothing",
            threat["origin"] or "–",
            *(_budget(threat["budget"].get(name)) for name in names),
        ]
        for threat in report["threats"]
    ]
    return section(
        "threats", "Threat model", paragraph(intro), table("Threats and their budgets, at most", heads, rows)
    )


def has_words(report: Mapping[str, Any], name: str) -> str:
    """What the attacker of a threat has, and his budget, in words."""
    threat = next((each for each in report["threats"] if each["name"] == name), None)
    if threat is None or not threat["gives"]:
        return "the stored payloads only"
    budget = threat["budget"]
    limits = [f"{budget[key]:,} {UNITS[key]}" for key in ("scenes", "steps") if budget.get(key)]
    gives = ", ".join(ABILITIES.get(word, word) for word in threat["gives"])
    return f"the stored payloads and {gives} (threat “{name}”: at most {', '.join(limits) or 'no budget'})"


def _budget(value: object) -> Amount:
    return Amount(f"{value:,.12g}" if isinstance(value, int | float) else NOTHING)


def _order(name: str) -> int:
    return list(UNITS).index(name) if name in UNITS else len(UNITS)


def _victims(report: Mapping[str, Any]) -> Markup:
    heads = ["victims", "data", "kind", "how they relate to the attacker's scans", "scenes", "points", "payload, bytes"]
    rows = [
        [
            group["name"],
            tag("code", group["dataset"]),
            "SIMULATED" if group["is_simulated"] else "real scans",
            group["relation"],
            len(group["scenes"]),
            Amount(shown(group["mean_points"])),
            Amount(shown(group["mean_payload_bytes"])),
        ]
        for group in report["victims"]
    ]
    return table("Who was attacked; points and bytes are means over scenes", heads, rows)


def _attacker(report: Mapping[str, Any]) -> Markup:
    own = report["attacker"]
    kind = "SIMULATED" if str(own["dataset"]).startswith("simulated") else "real"
    words = f"The attacker's own scans: {own['scenes']:,}, {kind}, of {own['dataset']}."
    return paragraph(words if own["scenes"] else "The attacker has no scans of his own.")
