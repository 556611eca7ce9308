"""What both sides tell each other before the first scene: hello, welcome and the policy in it."""

from __future__ import annotations

from protos.convert.fields import check_vehicle_id, hash_hex
from protos.policy import Limits, Policy, ServerTerms, VehicleIdentity
from protos.v1 import common_pb2, ingest_pb2
from shared_models.errors import InvalidValueError, ProtocolError

MAX_NAMES = 64  # in one list of a message


def hello_to_message(identity: VehicleIdentity) -> ingest_pb2.Hello:
    """The first message of a vehicle."""
    return ingest_pb2.Hello(
        protocol_versions=identity.protocol_versions,
        vehicle_id=identity.vehicle_id,
        backbone_hash=bytes.fromhex(identity.backbone_hash),
        split_layer=identity.split_layer,
        codecs=identity.codecs,
        client_version=identity.client_version,
    )


def hello_from_message(message: ingest_pb2.Hello) -> VehicleIdentity:
    """Who says hello.

    Raises:
        ProtocolError: a field is missing, malformed or far too long.
    """
    if len(message.codecs) > MAX_NAMES or len(message.protocol_versions) > MAX_NAMES:
        raise ProtocolError(f"hello: expected at most {MAX_NAMES} codecs and protocol versions")
    check_vehicle_id(message.vehicle_id)
    try:
        return VehicleIdentity(
            vehicle_id=message.vehicle_id,
            backbone_hash=hash_hex("backbone_hash", message.backbone_hash),
            split_layer=message.split_layer,
            codecs=tuple(message.codecs),
            protocol_versions=tuple(message.protocol_versions),
            client_version=message.client_version[:200],
        )
    except InvalidValueError as error:
        raise ProtocolError(f"hello: {error}") from error


def welcome_to_message(terms: ServerTerms) -> ingest_pb2.Welcome:
    """The server's answer to hello."""
    return ingest_pb2.Welcome(
        protocol_version=terms.protocol_version,
        policy=policy_to_message(terms.policy),
        credit_bytes=terms.credit_bytes,
        server_version=terms.server_version,
        takes_data_in_begin=terms.takes_data_in_begin,
    )


def welcome_from_message(message: ingest_pb2.Welcome) -> ServerTerms:
    """The server's terms.

    Raises:
        ProtocolError: malformed.
    """
    return ServerTerms(
        protocol_version=message.protocol_version,
        policy=policy_from_message(message.policy),
        credit_bytes=message.credit_bytes,
        server_version=message.server_version,
        takes_data_in_begin=message.takes_data_in_begin,
    )


def policy_to_message(policy: Policy) -> common_pb2.Policy:
    """The wire form of `policy`."""
    limits = policy.limits
    return common_pb2.Policy(
        policy_id=bytes.fromhex(policy.policy_id),
        backbone_hashes=[bytes.fromhex(h) for h in sorted(policy.backbone_hashes or ())],
        is_any_backbone_accepted=policy.backbone_hashes is None,
        codecs=sorted(policy.codecs),
        split_layers=sorted(policy.split_layers),
        guard=policy.guard,
        limits=common_pb2.Limits(
            max_payload_bytes=limits.max_payload_bytes,
            max_decoded_bytes=limits.max_decoded_bytes,
            max_chunk_bytes=limits.max_chunk_bytes,
            max_scenes_in_flight=limits.max_scenes_in_flight,
            max_scene_ids_per_query=limits.max_scene_ids_per_query,
        ),
    )


def policy_from_message(message: common_pb2.Policy) -> Policy:
    """The record of a policy that came in.

    Raises:
        ProtocolError: malformed.
    """
    try:
        limits = Limits(
            max_payload_bytes=message.limits.max_payload_bytes,
            max_decoded_bytes=message.limits.max_decoded_bytes,
            max_chunk_bytes=message.limits.max_chunk_bytes,
            max_scenes_in_flight=message.limits.max_scenes_in_flight,
            max_scene_ids_per_query=message.limits.max_scene_ids_per_query,
        )
        hashes = frozenset(hash_hex("backbone_hashes", h) for h in message.backbone_hashes)
        return Policy(
            backbone_hashes=None if message.is_any_backbone_accepted else hashes,
            codecs=frozenset(message.codecs),
            split_layers=frozenset(message.split_layers),
            limits=limits,
            guard=message.guard,
        )
    except InvalidValueError as error:
        raise ProtocolError(f"policy: {error}") from error
