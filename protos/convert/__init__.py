"""The one place where messages become records and records become messages.

What comes from outside is checked here: a malformed message raises `ProtocolError`, never anything else.
"""

from protos.convert.detections import detections_from_message, detections_to_message
from protos.convert.reports import report_from_message, report_to_message
from protos.convert.scenes import (
    begin_from_message,
    begin_to_message,
    check_begin_data,
    chunk_data,
    chunks_of,
    manifest_from_message,
    manifest_to_message,
    scene_from_parts,
    scene_id_from_bytes,
)
from protos.convert.terms import (
    hello_from_message,
    hello_to_message,
    policy_from_message,
    policy_to_message,
    welcome_from_message,
    welcome_to_message,
)

__all__ = [
    "begin_from_message",
    "begin_to_message",
    "check_begin_data",
    "chunk_data",
    "chunks_of",
    "detections_from_message",
    "detections_to_message",
    "hello_from_message",
    "hello_to_message",
    "manifest_from_message",
    "manifest_to_message",
    "policy_from_message",
    "policy_to_message",
    "report_from_message",
    "report_to_message",
    "scene_from_parts",
    "scene_id_from_bytes",
    "welcome_from_message",
    "welcome_to_message",
]
