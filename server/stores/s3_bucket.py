"""The few calls of the S3 API that the payload store needs, with timeouts, bounded retries and the project's errors."""

from __future__ import annotations

import base64
import hashlib
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from shared_models.errors import ConfigError, InvalidValueError, MissingDependencyError, StorageError, StorageFullError

_MISSING = frozenset({"404", "NoSuchKey", "NotFound"})
_FULL = frozenset({"507", "InsufficientStorage", "QuotaExceeded", "XMinioStorageFull", "ServiceQuotaExceeded"})
_TAKEN = frozenset({"412", "409", "PreconditionFailed", "ConditionalRequestConflict"})
_UNKNOWN_CONDITION = frozenset({"501", "NotImplemented"})
_WRITER = "writer"


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Config:
    """Where the bucket is, and how patient its user.

    bucket, prefix: objects are named PREFIX/payloads/... and PREFIX/partial/...; the bucket must be there already.
    endpoint: URL of the S3 API; "" is AWS. Credentials and region come from the environment as boto3 finds them.
    connect_timeout_s, read_timeout_s: seconds for connecting, and without a byte from the other end.
    attempts: how often a call is made in all before it fails.
    connections: open at once.
    """

    bucket: str
    prefix: str = ""
    endpoint: str = ""
    connect_timeout_s: float = 5.0
    read_timeout_s: float = 30.0
    attempts: int = 3
    connections: int = 16

    def __post_init__(self) -> None:
        if not self.bucket or self.prefix.startswith("/"):
            raise InvalidValueError(f"S3Config: expected s3://BUCKET/PREFIX, got s3://{self.bucket}/{self.prefix}")
        for name in ("connect_timeout_s", "read_timeout_s", "attempts", "connections"):
            if getattr(self, name) <= 0:
                raise InvalidValueError(f"S3Config.{name}: expected more than 0, got {getattr(self, name)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedObject:
    """An object in a listing. key: without the prefix. changed_s: seconds since the epoch, the store's clock."""

    key: str
    size: int
    changed_s: float


class Bucket:
    """The objects below one prefix of a bucket. Safe to use from several threads.

    Each call raises StorageFullError where a quota is reached and StorageError where anything else fails.
    """

    def __init__(self, config: S3Config) -> None:
        """Connect.

        Raises:
            StorageError: the bucket cannot be reached, or is not there. MissingDependencyError: boto3 is not installed.
        """
        self.config = config
        self.name = "/".join(part for part in ("s3:/", config.bucket, config.prefix.rstrip("/")) if part)
        self._prefix = f"{config.prefix.rstrip('/')}/" if config.prefix else ""
        self._client = _make_client(config)
        self._has_conditions = True
        with self._errors("the bucket"):
            self._client.head_bucket(Bucket=config.bucket)

    def put(self, key: str, data: bytes) -> None:
        """Write an object, durably; one that is there is replaced."""
        with self._errors(key):
            self._put(key, data)

    def put_new(self, key: str, data: bytes) -> bool:
        """Write an object unless there is one already; whether it is now the one of this call.

        A server that does not know the condition (If-None-Match) replaces what is there.
        """
        if not self._has_conditions:
            self.put(key, data)
            return True
        writer = uuid.uuid4().hex
        with self._errors(key):
            try:
                self._put(key, data, IfNoneMatch="*", Metadata={_WRITER: writer})
            except self._client.exceptions.ClientError as error:
                if _codes(error) & _UNKNOWN_CONDITION:
                    self._has_conditions = False
                    self._put(key, data)
                elif _codes(error) & _TAKEN:
                    return self._is_written_by(key, writer)
                else:
                    raise
        return True

    def get(self, key: str) -> bytes | None:
        """An object's bytes; None where there is none."""
        with self._errors(key):
            try:
                return bytes(self._client.get_object(**self._named(key))["Body"].read())
            except self._client.exceptions.ClientError as error:
                if _is_missing(error):
                    return None
                raise

    def has(self, key: str) -> bool:
        """Whether there is such an object."""
        return self._head(key) is not None

    def delete(self, key: str) -> None:
        """Delete an object; nothing happens where there is none."""
        with self._errors(key):
            self._client.delete_object(**self._named(key))

    def list(self, prefix: str) -> Iterator[ListedObject]:
        """Objects whose key begins with `prefix`, sorted by key."""
        with self._errors(prefix):
            pages = self._client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self.config.bucket, Prefix=self._prefix + prefix):
                for each in page.get("Contents", ()):
                    key, changed_s = each["Key"].removeprefix(self._prefix), each["LastModified"].timestamp()
                    yield ListedObject(key=key, size=each["Size"], changed_s=changed_s)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _put(self, key: str, data: bytes, **more: Any) -> None:
        # The server compares the digest with what arrived. MD5 is the one that every S3 API knows.
        digest = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
        self._client.put_object(**self._named(key), Body=data, ContentMD5=digest, **more)

    def _is_written_by(self, key: str, writer: str) -> bool:
        # A repeated call finds what its first attempt wrote, if only the answer to that was lost.
        head = self._head(key)
        return head is not None and head["Metadata"].get(_WRITER) == writer

    def _head(self, key: str) -> Any:
        with self._errors(key):
            try:
                return self._client.head_object(**self._named(key))
            except self._client.exceptions.ClientError as error:
                if _is_missing(error):
                    return None
                raise

    def _named(self, key: str) -> dict[str, str]:
        return {"Bucket": self.config.bucket, "Key": self._prefix + key}

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
        from urllib3.exceptions import HTTPError

        try:
            yield
        except ClientError as error:
            if _codes(error) & _FULL:
                raise StorageFullError(f"{self.name}: no space left in the object store; try again later") from error
            raise self._failed(what, error, "its bucket, and this server's rights there") from error
        except (BotoCoreError, HTTPClientError, HTTPError) as error:
            raise self._failed(what, error, "its address, the network, and the credentials") from error

    def _failed(self, what: str, error: Exception, advice: str) -> StorageError:
        return StorageError(
            f"{self.name}: {what}: the object store does not answer as it should ({error}): check {advice}"
        )


def _codes(error: Any) -> set[str]:
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", "")
    return {str(error.response.get("Error", {}).get("Code", "")), str(status)}


def _is_missing(error: Any) -> bool:
    return error.response.get("Error", {}).get("Code") in _MISSING  # not where the bucket itself is missing


@cache
def _session() -> Any:
    """The process's one session: it reads a lot of files when it makes its first client."""
    try:
        import boto3
    except ModuleNotFoundError as error:
        raise MissingDependencyError('payloads in S3 need boto3: pip install "upcycle-fleet[scale]"') from error
    return boto3.session.Session()


def _make_client(config: S3Config) -> Any:
    session = _session()
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    given: dict[str, Any] = {}
    if config.endpoint:
        # Other stores than AWS: names of buckets stand in the path, and any region will do.
        given = {"endpoint_url": config.endpoint, "region_name": session.region_name or "us-east-1"}
    settings = Config(
        connect_timeout=config.connect_timeout_s,
        read_timeout=config.read_timeout_s,
        retries={"mode": "standard", "total_max_attempts": config.attempts},
        max_pool_connections=config.connections,
        s3={"addressing_style": "path" if config.endpoint else "auto"},
        request_checksum_calculation="when_required",  # the newer checksums are not known to every S3 API
        response_checksum_validation="when_required",
    )
    try:
        return session.client("s3", config=settings, **given)
    except (BotoCoreError, ValueError) as error:
        raise ConfigError(f"s3://{config.bucket}: {error}: check --s3-endpoint and the AWS variables") from error
