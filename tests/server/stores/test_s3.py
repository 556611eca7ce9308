"""Half-sent payloads in an object store: what another server finds of them, and who may add to them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest

from server.stores.memory import MemoryPayloadStore
from server.stores.s3 import S3PayloadStore, S3StoreConfig, piece_key
from shared_models.errors import InvalidValueError, ServerUnreachableError, StorageError, StorageFullError
from tests.services import S3Server

KEY = "1" * 64
SHA256 = hashlib.sha256(b"abcdefgh").hexdigest()


class Replicas:
    """Two servers' stores over one bucket, with pieces of four bytes."""

    def __init__(self, server: S3Server) -> None:
        self.server, self.name = server, server.new_bucket()
        config, hold = S3StoreConfig(piece_bytes=4), MemoryPayloadStore().hold
        self.one, self.other = (S3PayloadStore(server.bucket(self.name), hold, config) for _ in range(2))

    def pieces(self) -> list[str]:
        return [key.rpartition("/")[2].lstrip("0") or "0" for key in self.server.keys(self.name) if "/partial/" in key]

    def close(self) -> None:
        self.one.close()
        self.other.close()


@pytest.fixture
def replicas(s3: S3Server) -> Iterator[Replicas]:
    made = Replicas(s3)
    yield made
    made.close()


def fail_with(error: Exception, monkeypatch: pytest.MonkeyPatch, store: S3PayloadStore, call: str) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(store.bucket, call, fail)


def test_a_small_payload_is_written_once(replicas: Replicas, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_with(AssertionError("no pieces"), monkeypatch, replicas.one, "put_new")
    partial = replicas.one.open_partial(KEY)
    partial.append(b"abc")
    sha256 = partial.commit()
    assert replicas.server.keys(replicas.name) == [f"fleet/a/payloads/{sha256}"]
    assert replicas.other.read(sha256) == b"abc"


def test_another_server_finds_what_a_dead_one_had_written(replicas: Replicas) -> None:
    dead = replicas.one.open_partial(KEY)
    for data in (b"ab", b"cde", b"fg"):
        dead.append(data)
    assert (dead.size, dead.read()) == (7, b"abcdefg")
    assert replicas.other.partial_bytes(KEY) == 5  # two bytes were in the memory of the dead one
    partial = replicas.other.open_partial(KEY)
    assert partial.size == 5
    partial.append(b"fgh")
    assert partial.commit() == SHA256
    assert replicas.one.read(SHA256) == b"abcdefgh"
    assert replicas.pieces() == []


def test_a_stream_that_ends_leaves_all_that_came(replicas: Replicas) -> None:
    partial = replicas.one.open_partial(KEY)
    partial.append(b"ab")
    partial.close()
    partial.close()
    assert replicas.other.partial_bytes(KEY) == 2


def test_the_server_that_comes_second_is_told_and_takes_nothing_away(replicas: Replicas) -> None:
    older, newer = replicas.one.open_partial(KEY), replicas.other.open_partial(KEY)
    newer.append(b"abcd")
    older.append(b"ab")
    with pytest.raises(ServerUnreachableError, match="another server"):
        older.append(b"cd")
    older.close()
    newer.append(b"efgh")
    assert replicas.pieces() == ["0", "4"]
    assert newer.commit() == SHA256
    assert replicas.one.read(SHA256) == b"abcdefgh"


def test_a_late_end_of_an_older_stream_changes_nothing(replicas: Replicas) -> None:
    older, newer = replicas.one.open_partial(KEY), replicas.other.open_partial(KEY)
    older.append(b"xyz")
    newer.append(b"abcd")
    older.close()
    newer.append(b"efgh")
    assert newer.commit() == SHA256


def test_pieces_dropped_elsewhere_are_noticed_before_anything_is_stored(replicas: Replicas) -> None:
    partial = replicas.one.open_partial(KEY)
    partial.append(b"abcd")
    partial.append(b"efgh")
    assert replicas.other.drop_partials(0.0, now_s=1e12) == 1
    with pytest.raises(ServerUnreachableError, match="begin it again"):
        partial.commit()
    assert not replicas.one.has(SHA256)


def test_what_lies_behind_a_gap_does_not_count_and_is_dropped(replicas: Replicas) -> None:
    replicas.one.bucket.put(piece_key(KEY, 0), b"abcd")
    replicas.one.bucket.put(piece_key(KEY, 9), b"zz")
    assert replicas.one.partial_bytes(KEY) == 4
    partial = replicas.one.open_partial(KEY)
    partial.append(b"efgh")
    assert partial.commit() == SHA256
    assert replicas.pieces() == []


def test_overlapping_pieces_of_a_server_without_conditions(replicas: Replicas) -> None:
    for offset, data in ((0, b"abcd"), (2, b"cd"), (4, b"efgh")):
        replicas.one.bucket.put(piece_key(KEY, offset), data)
    assert replicas.one.open_partial(KEY).commit() == SHA256


def test_failed_append_leaves_what_was_written_before(replicas: Replicas, monkeypatch: pytest.MonkeyPatch) -> None:
    partial = replicas.one.open_partial(KEY)
    partial.append(b"abcd")
    with monkeypatch.context() as patch:
        fail_with(StorageError("gone"), patch, replicas.one, "put_new")
        with pytest.raises(StorageError):
            partial.append(b"efgh")
        partial.close()
    assert replicas.one.partial_bytes(KEY) == 4


def test_full_store_frees_what_it_holds(replicas: Replicas, monkeypatch: pytest.MonkeyPatch) -> None:
    partial = replicas.one.open_partial(KEY)
    partial.append(b"abcd")
    fail_with(StorageFullError("full"), monkeypatch, replicas.one, "put_new")
    with pytest.raises(StorageFullError):
        partial.append(b"efgh")
    assert replicas.pieces() == []


def test_payload_is_stored_though_its_pieces_cannot_be_deleted(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    partial = replicas.one.open_partial(KEY)
    partial.append(b"abcdefgh")
    fail_with(StorageError("gone"), monkeypatch, replicas.one, "delete")
    assert partial.commit() == SHA256
    assert replicas.pieces() == ["0"]  # until it expires


def test_the_end_of_a_stream_never_fails(replicas: Replicas, monkeypatch: pytest.MonkeyPatch) -> None:
    partial = replicas.one.open_partial(KEY)
    partial.append(b"a")
    fail_with(StorageError("gone"), monkeypatch, replicas.one, "put_new")
    partial.close()
    assert replicas.one.drop_partials(0.0, now_s=1e12, keep_count=0) == 0


def test_damaged_payload_is_named(replicas: Replicas) -> None:
    replicas.one.bucket.put(f"payloads/{SHA256}", b"something else")
    with pytest.raises(StorageError, match=f"payloads/{SHA256}: damaged"):
        replicas.one.read(SHA256)


def test_wrong_settings() -> None:
    with pytest.raises(InvalidValueError, match="piece_bytes"):
        S3StoreConfig(piece_bytes=0)
