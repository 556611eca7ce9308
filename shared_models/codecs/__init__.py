"""Scene features as bytes and back: the table of codecs, and the three functions everyone uses."""

from __future__ import annotations

from shared_models import table
from shared_models.codec import DEFAULT_LIMITS, Codec, DecodeLimits, PayloadHeader
from shared_models.codecs import payload as framing
from shared_models.errors import CodecRefusedError
from shared_models.records import SceneFeatures

CODECS = {
    "float32": "shared_models.codecs.float32:Float32Codec",
    "float16": "shared_models.codecs.float16:Float16Codec",
    "int8": "shared_models.codecs.int8:Int8Codec",
    "int4": "shared_models.codecs.int4:Int4Codec",
}


def build(name: str) -> Codec:
    """The codec called `name`.

    Raises:
        UnknownNameError: there is no such codec; the message lists the known ones.
    """
    codec: Codec = table.load(CODECS, "codec", name)()
    return codec


def encode(features: SceneFeatures, codec: str) -> bytes:
    """The payload of one scene: self-describing, and the same bytes for the same features.

    Raises:
        UnknownNameError: there is no codec of that name.
        InvalidValueError: a feature or keypoint position is NaN or infinite.
    """
    return framing.write_payload(features, build(codec))


def read_header(payload: bytes, limits: DecodeLimits = DEFAULT_LIMITS) -> PayloadHeader:
    """What the payload declares about itself; nothing is decompressed.

    Raises:
        PayloadError, PayloadTooLargeError, VersionError: the header is damaged, over the limits or of another version.
    """
    return framing.read_header(payload, limits)


def decode(payload: bytes, limits: DecodeLimits = DEFAULT_LIMITS) -> SceneFeatures:
    """The features in `payload`, which may come from anyone: only `SenderError`s are raised.

    Raises:
        PayloadError: damaged, hostile or not of the declared form.
        PayloadTooLargeError: something declared is over `limits`.
        VersionError: a format version that this build does not read.
        CodecRefusedError: a codec that this build does not have.
    """
    header = framing.read_header(payload, limits)
    if header.codec not in CODECS:
        known = ", ".join(sorted(CODECS))
        raise CodecRefusedError(f"payload: codec {header.codec!r} is not known here; send one of: {known}")
    return framing.read_payload(payload, header, build(header.codec), limits)
