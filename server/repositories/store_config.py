"""Where a server keeps catalogue and payloads: in its data folder, or in a database and an object store."""

from __future__ import annotations

import os
from dataclasses import dataclass
from urllib.parse import urlsplit

from shared_models.errors import ConfigError

VARIABLES = {
    "catalogue_url": "UPCYCLE_CATALOGUE",
    "payloads_url": "UPCYCLE_PAYLOADS",
    "s3_endpoint": "UPCYCLE_S3_ENDPOINT",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreConfig:
    """Where catalogue and payloads are; "" is the data folder.

    catalogue_url: postgresql://USER:PASSWORD@HOST:PORT/DATABASE. A password is better given in the environment: in
        UPCYCLE_CATALOGUE, PGPASSWORD or PGPASSFILE.
    payloads_url: s3://BUCKET/PREFIX, only together with a catalogue in PostgreSQL, which keeps several servers apart.
    s3_endpoint: URL of the S3 API; "" is AWS. Credentials: AWS_ACCESS_KEY_ID and what else boto3 knows.
    """

    catalogue_url: str = ""
    payloads_url: str = ""
    s3_endpoint: str = ""

    def __post_init__(self) -> None:
        if self.catalogue_url and not self.catalogue_url.startswith(("postgresql://", "postgres://")):
            raise ConfigError("catalogue: expected postgresql://USER:PASSWORD@HOST:PORT/DATABASE, or none for a file")
        if self.payloads_url and not self.catalogue_url:
            raise ConfigError("payloads in S3 need a catalogue in PostgreSQL, which keeps several servers apart")
        if self.s3_endpoint and not self.payloads_url:
            raise ConfigError("the S3 endpoint is for payloads in S3: give s3://BUCKET/PREFIX for them, too")
        if self.payloads_url:
            parts = urlsplit(self.payloads_url)
            if parts.scheme != "s3" or not parts.netloc or "@" in parts.netloc or parts.query or parts.fragment:
                raise ConfigError("payloads: expected s3://BUCKET/PREFIX; credentials come from the environment")

    def __repr__(self) -> str:
        catalogue = "PostgreSQL" if self.catalogue_url else "file"  # the URL may hold a password
        return f"StoreConfig(catalogue={catalogue}, payloads={self.payloads_url!r}, s3_endpoint={self.s3_endpoint!r})"

    @classmethod
    def from_environment(cls) -> StoreConfig:
        """What UPCYCLE_CATALOGUE, UPCYCLE_PAYLOADS and UPCYCLE_S3_ENDPOINT say."""
        return cls(**{name: os.environ.get(variable, "") for name, variable in VARIABLES.items()})

    def to_environment(self) -> None:
        """Let `from_environment` say so everywhere in this process: options of a command are those variables."""
        os.environ.update({variable: getattr(self, name) for name, variable in VARIABLES.items()})

    @property
    def is_shared(self) -> bool:
        """Whether several servers may write there at once: nothing is in a folder of one of them."""
        return bool(self.catalogue_url and self.payloads_url)

    @property
    def bucket_and_prefix(self) -> tuple[str, str]:
        """Bucket and prefix of the payloads."""
        parts = urlsplit(self.payloads_url)
        return parts.netloc, parts.path.strip("/")
