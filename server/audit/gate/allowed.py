"""What a server may ask vehicles for: exactly what audits have been made of and that has passed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import product
from pathlib import Path

from server.audit.gate.evidence import reopen
from shared_models.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowedUploads:
    """Audited backbones (SHA-256, hex), codecs and split layers, in every combination, under one guard."""

    backbone_hashes: frozenset[str]
    codecs: frozenset[str]
    split_layers: frozenset[str]
    guard: str


def allowed_uploads(policy: Path, audits: Sequence[Path], now: datetime) -> AllowedUploads:
    """What the audits allow under the policy file; each report is held against it anew.

    audits: reports, or attestations of `upcycle audit gate --write`. now: aware time.

    Raises:
        ConfigError: a file cannot be used, an audit has not passed, their guards differ, or a combination of backbone,
            codec and layer has no audit.
    """
    if not audits:
        raise ConfigError(f"{policy}: no audit was named; give --audit with the report of `upcycle audit`")
    scopes = []
    for path in audits:
        judged = reopen(path, policy, now)
        if not judged.is_passed:
            raise ConfigError(f"{path}: the audit has not passed {policy}: " + "; ".join(judged.failures()))
        scopes.append(judged.report["scope"])
    audited = {(str(s["backbone_hash"]), str(s["codec"]), str(s["split_layer"])) for s in scopes}
    found = sorted({str(scope["guard"]) for scope in scopes})
    if len(found) != 1:
        raise ConfigError(f"--audit: expected audits under one guard, got {' and '.join(found)}")
    parts = [frozenset(values) for values in zip(*audited, strict=True)]
    missing = next((each for each in product(*map(sorted, parts)) if each not in audited), None)
    if missing is not None:
        backbone, codec, layer = missing
        raise ConfigError(f"--audit: no audit of codec {codec} at {layer} with backbone {backbone[:12]}: add one")
    return AllowedUploads(backbone_hashes=parts[0], codecs=parts[1], split_layers=parts[2], guard=found[0])
