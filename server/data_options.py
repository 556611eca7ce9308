"""Options that every command on a server's data has: where it is, and how it is printed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DEFAULT_DATA = Path("upcycle-data")

DataOption = Annotated[Path, typer.Option("--data", help="Folder of the server's data.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
CatalogueOption = Annotated[
    str, typer.Option(envvar="UPCYCLE_CATALOGUE", help="postgresql:// URL of the catalogue; default: a file in --data.")
]
PayloadsOption = Annotated[
    str, typer.Option(envvar="UPCYCLE_PAYLOADS", help="s3://BUCKET/PREFIX of the payloads; default: files in --data.")
]
EndpointOption = Annotated[
    str, typer.Option(envvar="UPCYCLE_S3_ENDPOINT", help="URL of the S3 API of --payloads; default: AWS.")
]


def use_stores(catalogue: str, payloads: str, s3_endpoint: str) -> None:
    """Let everything that this process opens be where these options say.

    Raises:
        ConfigError: they do not fit together.
    """
    from server.repositories.store_config import StoreConfig

    StoreConfig(catalogue_url=catalogue, payloads_url=payloads, s3_endpoint=s3_endpoint).to_environment()
