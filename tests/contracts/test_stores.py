"""What every payload store must do; runs over every name in the table."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.stores import STORES
from server.stores.files import FilePayloadStore
from server.stores.memory import MemoryPayloadStore
from server.stores.s3 import S3PayloadStore, S3StoreConfig
from server.stores.store import NewPayload, PayloadStore
from shared_models.errors import NotFoundError

KEY, OTHER_KEY = "1" * 64, "2" * 64


@pytest.fixture(params=sorted(STORES))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PayloadStore]:
    opened: PayloadStore
    match request.param:
        case "memory":
            opened = MemoryPayloadStore()
        case "files":
            opened = FilePayloadStore(tmp_path / "data")
        case "s3":
            # Who holds a payload is PostgreSQL's part: tests/server/repositories/test_postgres.py.
            hold, bucket = MemoryPayloadStore().hold, request.getfixturevalue("s3").bucket()
            opened = S3PayloadStore(bucket, hold, S3StoreConfig(piece_bytes=3))
    yield opened
    opened.close()


def test_payload_is_kept_under_its_hash(store: PayloadStore) -> None:
    partial = store.open_partial(KEY)
    partial.append(b"one ")
    partial.append(b"two")
    expected = hashlib.sha256(b"one two").hexdigest()
    assert (partial.size, partial.sha256, partial.read()) == (7, expected, b"one two")
    assert not store.has(expected)
    assert partial.commit() == expected
    assert store.has(expected)
    assert store.read(expected) == b"one two"


def test_committed_partial_is_gone(store: PayloadStore) -> None:
    partial = store.open_partial(KEY)
    partial.append(b"data")
    partial.commit()
    assert store.partial_bytes(KEY) == 0
    assert store.open_partial(KEY).size == 0


def test_closed_partial_goes_on_where_it_ended(store: PayloadStore) -> None:
    first = store.open_partial(KEY)
    first.append(b"abc")
    first.close()
    assert store.partial_bytes(KEY) == 3
    again = store.open_partial(KEY)
    assert again.size == 3
    again.append(b"def")
    assert store.read(again.commit()) == b"abcdef"


def test_discarded_partial_starts_again(store: PayloadStore) -> None:
    partial = store.open_partial(KEY)
    partial.append(b"abc")
    partial.discard()
    assert store.partial_bytes(KEY) == 0
    assert store.open_partial(KEY).size == 0


def test_empty_payload(store: PayloadStore) -> None:
    sha256 = store.open_partial(KEY).commit()
    assert sha256 == hashlib.sha256(b"").hexdigest()
    assert store.read(sha256) == b""


def test_same_payload_from_two_scenes(store: PayloadStore) -> None:
    partials = [store.open_partial(key) for key in (KEY, OTHER_KEY)]
    for partial in partials:
        partial.append(b"same")
    assert len({partial.commit() for partial in partials}) == 1


def test_unknown_payload_is_not_found(store: PayloadStore) -> None:
    assert not store.has("0" * 64)
    with pytest.raises(NotFoundError, match="000000"):
        store.read("0" * 64)


def test_only_old_partials_are_dropped(store: PayloadStore) -> None:
    partial = store.open_partial(KEY)
    partial.append(b"abc")
    partial.close()
    assert store.drop_partials(older_than_s=3600.0, now_s=0.0) == 0
    assert store.partial_bytes(KEY) == 3
    assert store.drop_partials(older_than_s=3600.0, now_s=1e12) == 1
    assert store.partial_bytes(KEY) == 0


def test_open_partials_are_not_dropped(store: PayloadStore) -> None:
    partial = store.open_partial(KEY)
    partial.append(b"abc")
    assert store.drop_partials(older_than_s=0.0, now_s=1e12, keep_bytes=0, keep_count=0) == 0
    assert store.read(partial.commit()) == b"abc"


@pytest.mark.parametrize(("limits", "dropped"), [((5, None), 1), ((6, 2), 0), ((None, 1), 1), ((2, 9), 2)])
def test_partials_beyond_a_limit_are_dropped(
    store: PayloadStore, limits: tuple[int | None, int | None], dropped: int
) -> None:
    for key in (KEY, OTHER_KEY):
        partial = store.open_partial(key)
        partial.append(b"abc")
        partial.close()
    assert store.drop_partials(3600.0, 0.0, *limits) == dropped


def test_removed_payload_is_gone(store: PayloadStore) -> None:
    sha256 = store.open_partial(KEY).commit()
    store.remove(sha256)
    store.remove(sha256)
    assert not store.has(sha256)


def test_several_hold_a_payload_together_and_one_alone_waits(store: PayloadStore) -> None:
    order: list[str] = []
    is_waiting = threading.Event()

    def remove() -> None:
        is_waiting.set()
        with store.hold(KEY, is_alone=True):
            order.append("alone")

    remover = threading.Thread(target=remove)
    with store.hold(KEY), store.hold(KEY):
        remover.start()
        assert is_waiting.wait(20)
        remover.join(0.05)  # it would have gone on by now
        order.append("together")
    remover.join(20)
    assert order == ["together", "alone"]


def test_who_holds_a_payload_alone_keeps_others_from_it(store: PayloadStore) -> None:
    order: list[str] = []
    is_waiting = threading.Event()

    def place() -> None:
        is_waiting.set()
        with store.hold(KEY):
            order.append("placed")

    placer = threading.Thread(target=place)
    with store.hold(KEY, is_alone=True), store.hold(OTHER_KEY):  # another payload is free
        placer.start()
        assert is_waiting.wait(20)
        placer.join(0.05)
        order.append("removed")
    placer.join(20)
    assert order == ["removed", "placed"]


def new_payload(payload: bytes, key: str = KEY) -> NewPayload:
    return NewPayload(key=key, payload=payload, sha256=hashlib.sha256(payload).hexdigest())


def test_payloads_are_placed_together(store: PayloadStore) -> None:
    new = [new_payload(f"number {number}".encode(), f"{number:064x}") for number in range(5)]
    assert store.put_together(new) == [None] * 5
    assert [store.read(each.sha256) for each in new] == [each.payload for each in new]
    assert [store.partial_bytes(each.key) for each in new] == [0] * 5
    assert store.put_together([]) == []


def test_a_payload_placed_as_a_whole_ends_what_was_half_sent(store: PayloadStore) -> None:
    partial = store.open_partial(KEY)
    partial.append(b"number one, and more of it than there will be")
    partial.close()
    new = new_payload(b"number one")
    assert store.put_together([new]) == [None]
    assert (store.read(new.sha256), store.partial_bytes(KEY), store.open_partial(KEY).size) == (b"number one", 0, 0)


def test_the_same_payload_of_two_scenes_is_placed_once(store: PayloadStore) -> None:
    both = [new_payload(b"twice", key) for key in (KEY, OTHER_KEY)]
    assert store.put_together(both) == [None, None]
    assert store.put_together(both) == [None, None]
    assert store.read(both[0].sha256) == b"twice"
    store.remove(both[0].sha256)
    assert not store.has(both[0].sha256)
