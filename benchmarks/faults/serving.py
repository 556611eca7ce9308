"""A server process of its own for measurements: started, watched through /proc, stopped or killed.

    with serving(Path("data"), backbone_hash=...) as server:      # -> Serving(pid, port, process)
        ...

or by itself: python -m benchmarks.faults.serving '{"data": "data", "backbone_hash": "ab...", "config": {}}'
"""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from protos.policy import Limits, Policy
from server.ingest.config import IngestConfig
from server.ingest.intake import Intake
from server.ingest.server import IngestServer, Listen, serve_until_signalled
from server.repositories.archive import open_archive, sole_writer
from server.repositories.pseudonym import open_pseudonyms
from shared_models.codecs import CODECS

_REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """A running server process."""

    pid: int
    port: int
    process: subprocess.Popen[str]

    @property
    def target(self) -> str:
        """HOST:PORT."""
        return f"127.0.0.1:{self.port}"


def make_policy(backbone_hash: str, chunk_bytes: int) -> Policy:
    """A policy for features of one backbone, in every codec."""
    limits = Limits(max_chunk_bytes=chunk_bytes)
    return Policy(backbone_hashes=frozenset({backbone_hash}), codecs=frozenset(CODECS), limits=limits)


def open_handed(data: Path, changed: dict[str, Any]) -> dict[str, Any]:
    """Store, catalogue, settings and pseudonyms of `data`, as arguments of an Intake.

    changed: fields of IngestConfig that differ; those that this build does not have are left out.
    """
    archive = open_archive(data, is_new_allowed=True)
    known = {each.name for each in fields(IngestConfig)}
    return {
        "store": archive.store,
        "catalogue": archive.catalogue,
        "config": IngestConfig(**{name: value for name, value in changed.items() if name in known}),
        "pseudonyms": open_pseudonyms(data, is_new_allowed=True),
    }


@contextmanager
def serving(
    data: Path, backbone_hash: str, chunk_bytes: int = 256 << 10, config: dict[str, Any] | None = None
) -> Iterator[Serving]:
    """A server on `data` as a process of its own, killed at the end."""
    given = {"data": str(data), "backbone_hash": backbone_hash, "chunk_bytes": chunk_bytes, "config": config or {}}
    command = [sys.executable, "-m", "benchmarks.faults.serving", json.dumps(given)]
    with subprocess.Popen(command, cwd=_REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            port = int(process.stdout.readline().rpartition(":")[2])
            yield Serving(pid=process.pid, port=port, process=process)
        finally:
            process.kill()


async def _serve(given: dict[str, Any]) -> None:
    logging.disable(logging.WARNING)  # a refused message is logged, and millions are sent
    data = Path(given["data"])
    with sole_writer(data):
        policy = make_policy(given["backbone_hash"], given["chunk_bytes"])
        server = IngestServer(Intake(policy, **open_handed(data, given["config"])), Listen())
        await serve_until_signalled(server, lambda port: print(f"listening on 127.0.0.1:{port}", flush=True))


if __name__ == "__main__":
    asyncio.run(_serve(json.loads(sys.argv[1])))
