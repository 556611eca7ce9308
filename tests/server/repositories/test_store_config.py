"""Where catalogue and payloads are: what fits together, what the environment says, and what is never shown."""

from __future__ import annotations

import pytest

from server.repositories.store_config import StoreConfig
from shared_models.errors import ConfigError

CATALOGUE, PAYLOADS = "postgresql://a:swordfish@db/upcycle", "s3://bucket/fleet/a/"


def test_default_is_the_folder() -> None:
    assert not StoreConfig().is_shared
    assert not StoreConfig(catalogue_url=CATALOGUE).is_shared
    assert StoreConfig(catalogue_url=CATALOGUE, payloads_url=PAYLOADS).is_shared


@pytest.mark.parametrize(
    ("url", "expected"), [(PAYLOADS, ("bucket", "fleet/a")), ("s3://bucket", ("bucket", "")), ("s3://b/", ("b", ""))]
)
def test_bucket_and_prefix(url: str, expected: tuple[str, str]) -> None:
    assert StoreConfig(catalogue_url=CATALOGUE, payloads_url=url).bucket_and_prefix == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"catalogue_url": "mysql://a:swordfish@b/c"}, "catalogue: expected postgresql://"),
        ({"payloads_url": PAYLOADS}, "need a catalogue in PostgreSQL"),
        ({"catalogue_url": CATALOGUE, "s3_endpoint": "http://x"}, "give s3://"),
        ({"catalogue_url": CATALOGUE, "payloads_url": "https://bucket/x"}, "payloads: expected s3://"),
        ({"catalogue_url": CATALOGUE, "payloads_url": "s3://key:swordfish@bucket/x"}, "credentials come from"),
        ({"catalogue_url": CATALOGUE, "payloads_url": "s3:///x"}, "payloads: expected s3://"),
    ],
)
def test_what_does_not_fit(given: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as refused:
        StoreConfig(**given)
    assert "swordfish" not in str(refused.value)


def test_the_password_is_not_shown() -> None:
    assert "swordfish" not in repr(StoreConfig(catalogue_url=CATALOGUE))


def test_through_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CATALOGUE", "PAYLOADS", "S3_ENDPOINT"):
        monkeypatch.setenv(f"UPCYCLE_{name}", "")
    assert StoreConfig.from_environment() == StoreConfig()
    given = StoreConfig(catalogue_url=CATALOGUE, payloads_url=PAYLOADS, s3_endpoint="http://x")
    given.to_environment()
    assert StoreConfig.from_environment() == given
