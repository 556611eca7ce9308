"""A fleet's certificate authority in a folder, with a server, two vehicles and an auditor."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from server.ingest.tls import TlsConfig, TlsFolder
from server.pki.authority import Authority, create_authority
from server.pki.identity import parse_identity
from vehicle_client.tls import TlsFiles, tls_files

DAY = timedelta(days=1)
HOSTS = ("localhost", "127.0.0.1")


def now() -> datetime:
    """In UTC."""
    return datetime.now(UTC)


class Fleet:
    """Everything that tests of TLS need, made now."""

    def __init__(self, folder: Path, *names: str) -> None:
        self.authority: Authority = create_authority(folder, "Test CA", now(), days=100)
        self.server = self.issue("server/ingest", *HOSTS)
        for name in names or ("vehicle/car-1", "vehicle/car-2", "auditor/ann", "operator/olaf"):
            self.issue(name)

    def issue(self, name: str, *hosts: str, at: datetime | None = None, days: int = 10) -> Path:
        """The folder of a new certificate."""
        return self.authority.issue(parse_identity(name), at or now(), days, hosts)

    def rotate(self, name: str) -> Path:
        """The same folder with a new certificate in it."""
        return self.authority.rotate(parse_identity(name), now(), 10)

    def files(self, name: str) -> TlsFiles:
        """What the holder of a certificate connects with."""
        found = tls_files(self.authority.folder / name)
        assert found is not None
        return found

    def tls(self) -> TlsFolder:
        """The server's side, which looks at its files each time."""
        return TlsFolder(TlsConfig(folder=self.server, check_s=0.0))


def copy_of(files: TlsFiles, folder: Path) -> TlsFiles:
    """The same files in another folder, where no authority changes them."""
    folder.mkdir(parents=True)
    for path in (files.ca, files.certificate, files.key):
        (folder / path.name).write_bytes(path.read_bytes())
        (folder / path.name).chmod(0o600)
    copied = tls_files(folder)
    assert copied is not None
    return copied
