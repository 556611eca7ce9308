"""Scenes that wait under another guard than the server asks for now never leave the vehicle."""

from __future__ import annotations

from protos.policy import Policy
from shared_models import codecs
from shared_models.records import EncodedScene


def check_waiting(scene: EncodedScene, policy: Policy) -> None:
    """Look into the scene's header where the policy names a guard.

    Raises:
        GuardRefusedError: its features are under another one.
        PayloadError, VersionError: its header cannot be read.
    """
    if policy.guard:
        header = codecs.read_header(scene.payload)
        policy.check_guard(header.guard_or_none, f"frame {scene.manifest.frame_id}")
