"""Does a payload's own header say what its manifest says?"""

from __future__ import annotations

from collections.abc import Callable

from protos.policy import Policy
from shared_models import codecs
from shared_models.codec import DecodeLimits
from shared_models.errors import PayloadError
from shared_models.records import SceneManifest

PayloadCheck = Callable[[SceneManifest, bytes], str | None]
"""Looks at a complete payload before it is stored; raises a SenderError to refuse it.

Returns the guard that its header names, as `StoredScene.guard`; None where nobody looked.
"""

_COMPARED = ("codec", "split_layer", "backbone_hash")


class HeaderCheck:
    """Compares a payload's header with its manifest and with the policy; nothing is decompressed."""

    def __init__(self, policy: Policy) -> None:
        self._policy, limits = policy, policy.limits
        self._limits = DecodeLimits(
            max_payload_bytes=limits.max_payload_bytes, max_decoded_bytes=limits.max_decoded_bytes
        )

    def __call__(self, manifest: SceneManifest, payload: bytes) -> str:
        """The guard that the header names, as `StoredScene.guard`.

        Raises:
            PayloadError, PayloadTooLargeError, VersionError: header damaged, over limits or another's.
            GuardRefusedError: the policy asks for another guard.
        """
        header = codecs.read_header(payload, self._limits)
        for name in _COMPARED:
            inside, declared = getattr(header, name), getattr(manifest, name)
            if inside != declared:
                raise PayloadError(
                    f"frame {manifest.frame_id}: the payload's header says {name} {inside!r}, its manifest {declared!r}"
                )
        self._policy.check_guard(header.guard_or_none, f"frame {manifest.frame_id}")
        return header.guard_or_none
