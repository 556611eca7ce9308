"""The calls of the S3 API: conditions, lost answers, and what goes wrong in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from server.stores.s3_bucket import Bucket, S3Config
from shared_models.errors import InvalidValueError, StorageError, StorageFullError
from tests.loopback import free_port
from tests.services import S3Server


@pytest.fixture
def bucket(s3: S3Server) -> Iterator[Bucket]:
    opened = s3.bucket()
    yield opened
    opened.close()


def refuse(code: str, status: int, monkeypatch: pytest.MonkeyPatch, bucket: Bucket, first_only: bool = False) -> None:
    """Let every PUT, or the first, be answered with this error of the API."""
    put, calls = bucket._client.put_object, list[str]()

    def answer(**given: Any) -> Any:
        calls.append(given["Key"])
        if first_only and len(calls) > 1:
            return put(**given)
        raise ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "PutObject")

    monkeypatch.setattr(bucket._client, "put_object", answer)


def test_objects_come_back(bucket: Bucket) -> None:
    bucket.put("a/1", b"one")
    bucket.put("a/1", b"two")
    bucket.put("a/0", b"")
    bucket.put("b", b"other")
    assert (bucket.get("a/1"), bucket.get("a/0"), bucket.get("nothing")) == (b"two", b"", None)
    assert (bucket.has("b"), bucket.has("nothing")) == (True, False)
    assert [(each.key, each.size) for each in bucket.list("a/")] == [("a/0", 0), ("a/1", 3)]
    bucket.delete("a/1")
    bucket.delete("a/1")
    assert not bucket.has("a/1")


def test_listing_of_more_than_one_page(bucket: Bucket) -> None:
    bucket._client.meta.events.register(
        "provide-client-params.s3.ListObjectsV2", lambda params, **_: {**params, "MaxKeys": 3}
    )
    keys = [f"x/{number:02d}" for number in range(8)]
    for key in keys:
        bucket.put(key, b"")
    assert [each.key for each in bucket.list("x/")] == keys


def test_new_object_is_written_once(bucket: Bucket) -> None:
    assert bucket.put_new("a", b"first")
    assert not bucket.put_new("a", b"second")
    assert bucket.get("a") == b"first"


def test_repeated_call_knows_its_own_object(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first attempt was carried out, its answer got lost, and boto3 made a second one."""
    put = bucket._client.put_object

    def put_twice(**given: Any) -> Any:
        put(**given)
        return put(**given)

    monkeypatch.setattr(bucket._client, "put_object", put_twice)
    assert bucket.put_new("a", b"mine")
    assert not bucket.put_new("a", b"another's")


def test_server_that_knows_no_conditions(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse("NotImplemented", 501, monkeypatch, bucket, first_only=True)
    assert bucket.put_new("a", b"first")
    assert bucket.put_new("a", b"second")
    assert bucket.get("a") == b"second"


@pytest.mark.parametrize(("code", "status"), [("QuotaExceeded", 403), ("XMinioStorageFull", 507), ("", 507)])
def test_full_store(bucket: Bucket, monkeypatch: pytest.MonkeyPatch, code: str, status: int) -> None:
    refuse(code, status, monkeypatch, bucket)
    for put in (bucket.put, bucket.put_new):
        with pytest.raises(StorageFullError, match="no space left in the object store"):
            put("a", b"x")


def test_no_rights(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse("AccessDenied", 403, monkeypatch, bucket)
    with pytest.raises(StorageError, match="a: .*AccessDenied.*rights"):
        bucket.put("a", b"x")


def test_bucket_that_is_not_there(s3: S3Server) -> None:
    with pytest.raises(StorageError, match="s3://nobody-made-this/fleet/a: the bucket"):
        s3.bucket("nobody-made-this")


def test_nobody_answers() -> None:
    config = S3Config(bucket="b", endpoint=f"http://127.0.0.1:{free_port()}", attempts=1)
    with pytest.raises(StorageError, match="check its address, the network, and the credentials"):
        Bucket(config)


@pytest.mark.parametrize("wrong", [{"bucket": ""}, {"prefix": "/a"}, {"attempts": 0}, {"read_timeout_s": 0.0}])
def test_wrong_settings(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidValueError, match="S3Config"):
        S3Config(**{"bucket": "b", **wrong})
