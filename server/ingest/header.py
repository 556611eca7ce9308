"""Does a payload's own header say what its manifest says?"""

from __future__ import annotations

from collections.abc import Callable

from protos.policy import Limits
from shared_models import codecs
from shared_models.codec import DecodeLimits
from shared_models.errors import PayloadError
from shared_models.records import SceneManifest

PayloadCheck = Callable[[SceneManifest, bytes], None]
"""Looks at a complete payload before it is stored; raises a SenderError to refuse it."""

_COMPARED = ("codec", "split_layer", "backbone_hash")


class HeaderCheck:
    """Compares a payload's header with its manifest and with the limits; nothing is decompressed."""

    def __init__(self, limits: Limits) -> None:
        self._limits = DecodeLimits(
            max_payload_bytes=limits.max_payload_bytes, max_decoded_bytes=limits.max_decoded_bytes
        )

    def __call__(self, manifest: SceneManifest, payload: bytes) -> None:
        """Raises PayloadError, PayloadTooLargeError or VersionError: header damaged, over limits or another's."""
        header = codecs.read_header(payload, self._limits)
        for name in _COMPARED:
            inside, declared = getattr(header, name), getattr(manifest, name)
            if inside != declared:
                raise PayloadError(
                    f"frame {manifest.frame_id}: the payload's header says {name} {inside!r}, its manifest {declared!r}"
                )
