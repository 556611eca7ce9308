"""Options of `upcycle server serve` that say what vehicles upload."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

UploadPolicyOption = Annotated[
    Path | None,
    typer.Option(
        "--upload-policy",
        metavar="FILE",
        help="Policy file: ask vehicles for what --audit shows to keep within it only.",
    ),
]
AuditOption = Annotated[
    list[Path] | None,
    typer.Option("--audit", metavar="FILE", help="Report of `upcycle audit`, or attestation of its gate; repeatable."),
]
