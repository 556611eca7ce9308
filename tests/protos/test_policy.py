"""What a policy accepts, and its id."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from protos.policy import Limits, Policy, choose_version
from shared_models.errors import (
    BackboneMismatchError,
    CodecRefusedError,
    GuardRefusedError,
    InvalidValueError,
    PayloadTooLargeError,
    VersionError,
)
from tests.loopback import BACKBONE, OTHER_BACKBONE, make_policy, make_scene


def test_accepted_scene() -> None:
    make_policy().check_manifest(make_scene().manifest)


@pytest.mark.parametrize(
    ("policy", "scene", "error"),
    [
        ({}, {"backbone_hash": OTHER_BACKBONE}, BackboneMismatchError),
        ({"split_layers": frozenset({"conv_4"})}, {}, BackboneMismatchError),
        ({}, {"codec": "int4"}, CodecRefusedError),
        ({"limits": Limits(max_payload_bytes=9_999)}, {}, PayloadTooLargeError),
    ],
)
def test_refused_scene(policy: dict[str, Any], scene: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        make_policy(**policy).check_manifest(make_scene(**scene).manifest)


def test_any_backbone() -> None:
    make_policy(backbone_hashes=None).check_backbone(OTHER_BACKBONE, "conv_out")


@pytest.mark.parametrize(
    ("asked", "came", "is_accepted"),
    [
        ("", "none", True),
        ("", "noise", True),
        ("none", "none", True),
        ("none", "noise", False),
        ("noise", "none", False),
    ],
)
def test_guard(asked: str, came: str, is_accepted: bool) -> None:
    policy = make_policy(guard=asked)
    if is_accepted:
        policy.check_guard(came, "frame 7")
    else:
        with pytest.raises(GuardRefusedError, match="frame 7.*under guard"):
            policy.check_guard(came, "frame 7")


def test_policy_without_a_guard_has_the_id_that_it_had_before_guards() -> None:
    expected = "\n".join(
        [
            "upcycle.policy.v1",
            f"backbone {BACKBONE}",
            "codec float32",
            "codec int8",
            "max_payload_bytes 1048576",
            "max_decoded_bytes 268435456",
            "max_chunk_bytes 4096",
            "max_scenes_in_flight 8",
            "max_scene_ids_per_query 1000",
        ]
    )
    assert make_policy().policy_id == hashlib.sha256(expected.encode()).hexdigest()


def test_policy_id_changes_with_everything() -> None:
    policies = [
        make_policy(),
        make_policy(backbone_hashes=None),
        make_policy(backbone_hashes=frozenset({BACKBONE, OTHER_BACKBONE})),
        make_policy(codecs=frozenset({"int8"})),
        make_policy(split_layers=frozenset({"conv_out"})),
        make_policy(limits=Limits()),
        make_policy(guard="none"),
        make_policy(guard="decoys,share=0.5"),
    ]
    assert len({policy.policy_id for policy in policies}) == len(policies)
    assert make_policy().policy_id == make_policy().policy_id


@pytest.mark.parametrize(
    "wrong",
    [
        {"backbone_hashes": frozenset()},
        {"backbone_hashes": frozenset({"AB"})},
        {"codecs": frozenset()},
        {"codecs": frozenset({""})},
    ],
)
def test_policy_checks_itself(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidValueError, match="Policy"):
        make_policy(**wrong)


@pytest.mark.parametrize("wrong", [{"max_payload_bytes": 0}, {"max_chunk_bytes": (1 << 20) + 1}])
def test_limits_check_themselves(wrong: dict[str, int]) -> None:
    with pytest.raises(InvalidValueError, match="Limits"):
        Limits(**wrong)


def test_highest_common_version() -> None:
    assert choose_version((1, 2, 77)) == 1
    with pytest.raises(VersionError, match=r"\[2\], this server \[1\]"):
        choose_version((2,))


def test_policy_needs_codecs_to_be_named() -> None:
    with pytest.raises(CodecRefusedError, match="none named"):
        Policy(backbone_hashes=None, codecs=frozenset({"int8"})).check_codec()
