"""What a server asks vehicles for: as its operator says, or as audits allow."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from protos.policy import Policy
from shared_models.codecs import CODECS
from shared_models.errors import ConfigError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedUploads:
    """What the command line of `upcycle server serve` asks for; empty where it says nothing."""

    backbone_hashes: frozenset[str] = frozenset()
    is_any_backbone: bool = False
    codecs: frozenset[str] = frozenset()
    split_layers: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        unknown = self.codecs - set(CODECS)
        if unknown:
            raise ConfigError(f"unknown codec {', '.join(sorted(unknown))}; known: {', '.join(sorted(CODECS))}")

    def policy(self, policy_file: Path | None, audits: Sequence[Path]) -> Policy:
        """What vehicles are told. policy_file: None where no audit stands behind it.

        Raises:
            ConfigError: no backbone is named and not all are asked for, or both; an audit has not passed, or something
                is asked for that none was made of.
        """
        if policy_file is not None:
            return self._audited(policy_file, audits)
        if audits:
            raise ConfigError("--audit: give --upload-policy too, the file of what it must have shown")
        if self.is_any_backbone == bool(self.backbone_hashes):
            raise ConfigError(
                "give --upload-policy and --audit; without an audit --backbone-hash or --checkpoint, or else "
                "--any-backbone for trials"
            )
        return Policy(
            backbone_hashes=None if self.is_any_backbone else self.backbone_hashes,
            codecs=self.codecs or frozenset(CODECS),
            split_layers=self.split_layers,
        )

    def _audited(self, policy_file: Path, audits: Sequence[Path]) -> Policy:
        from server.audit.gate.allowed import allowed_uploads  # the auditor's libraries only where they are asked for

        if self.is_any_backbone:
            raise ConfigError("--any-backbone: an audit is of one backbone; leave out this option or --upload-policy")
        allowed = allowed_uploads(policy_file, audits, datetime.now(UTC))
        return Policy(
            backbone_hashes=_narrowed("backbone", self.backbone_hashes, allowed.backbone_hashes),
            codecs=_narrowed("codec", self.codecs, allowed.codecs),
            split_layers=_narrowed("split layer", self.split_layers, allowed.split_layers),
            guard=allowed.guard,
        )


def announce(policy: Policy) -> None:
    """Say in the log whether an audit stands behind `policy`: only such a policy names a guard."""
    if policy.guard:
        logger.info("what vehicles upload was audited", extra={"guard": policy.guard})
    else:
        logger.warning(
            "NO AUDIT guards what vehicles upload: scenes under any guard and under none are stored; give "
            "--upload-policy and --audit, see docs/privacy.md"
        )


def _narrowed(what: str, asked: frozenset[str], audited: frozenset[str]) -> frozenset[str]:
    if asked - audited:
        raise ConfigError(
            f"{what} {', '.join(sorted(asked - audited))}: no audit that was named is of it, only of "
            f"{', '.join(sorted(audited))}; audit it, or leave it out"
        )
    return asked or audited
