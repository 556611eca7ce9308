"""A server process with TLS: certificates come and go while it runs, made by `upcycle server pki`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from server.cli import app
from shared_models.errors import UnauthenticatedError
from tests.loopback import BACKBONE, make_identity
from tests.system.test_server_process import real_scene
from vehicle_client.outbox import Outbox
from vehicle_client.tls import tls_files
from vehicle_client.uploader import Uploader


def pki(folder: Path, *arguments: str) -> None:
    """`upcycle server pki` in this process."""
    result = CliRunner().invoke(app, ["pki", *arguments, "--pki", str(folder)])
    assert result.exit_code == 0, result.output


@contextmanager
def serving(repository: Path, data: Path, tls: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "upcycle", "server", "serve", "--data", str(data), "--port", "0"]
    command += ["--backbone-hash", BACKBONE, "--tls", str(tls)]
    process = subprocess.Popen(command, cwd=repository, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    with process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("listening on 127.0.0.1:"), line
        try:
            yield f"localhost:{line.rpartition(':')[2].strip()}"
        finally:
            process.kill()


def test_a_fleet_with_certificates(tmp_path: Path, repository: Path) -> None:
    folder = tmp_path / "pki"
    pki(folder, "init")
    pki(folder, "issue", "server/ingest", "--host", "localhost")
    pki(folder, "issue", "vehicle/car-1")
    tls, identity = tls_files(folder / "vehicle/car-1"), make_identity(codecs=("float32",))
    with serving(repository, tmp_path / "data", folder / "server/ingest") as target:
        with Outbox(tmp_path / "spool") as outbox:
            outbox.put(real_scene(0))
            assert Uploader(target, identity, tls=tls).run(outbox).stored == 1
            pki(folder, "rotate", "server/ingest")
            pki(folder, "rotate", "vehicle/car-1", "--revoke-old")
            outbox.put(real_scene(1))
            assert Uploader(target, identity, tls=tls).run(outbox).stored == 1
        pki(folder, "revoke", "vehicle/car-1")
        uploader = Uploader(target, identity, tls=tls)

        def ask_until_refused() -> None:
            while True:  # the server looks at its files once a second
                uploader.handshake()

        with pytest.raises(UnauthenticatedError, match="is revoked"):
            ask_until_refused()
    assert (tmp_path / "data" / "pseudonym.key").stat().st_mode & 0o777 == 0o600
