"""The load's scenes are what they say they are, hashes worked out by the obvious way."""

from __future__ import annotations

import hashlib
import zlib

import pytest

from benchmarks.faults.vehicles import BACKBONE, CODEC, ScenePool
from shared_models import codecs
from shared_models.errors import InvalidValueError


def test_scenes_of_a_pool() -> None:
    pool = ScenePool(20_000, 3, seed=0)
    taken = [pool.next("car-1") for _ in range(7)]
    for manifest, payload, crc32 in taken:
        assert manifest.payload_sha256 == hashlib.sha256(payload).hexdigest()
        assert crc32 == zlib.crc32(payload)
        assert len(payload) == manifest.payload_bytes == pool.scene_bytes
        header = codecs.read_header(payload)
        assert (header.codec, header.backbone_hash) == (CODEC, BACKBONE)
    assert 18_000 < pool.scene_bytes < 22_000
    assert len({manifest.scene_id for manifest, _, _ in taken}) == 7
    assert len({payload for _, payload, _ in taken}) == len(pool) == 3


def test_impossible_sizes() -> None:
    with pytest.raises(InvalidValueError, match="got 10"):
        ScenePool(10, 1, seed=0)
