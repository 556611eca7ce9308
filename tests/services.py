"""A PostgreSQL server and an S3 API on loopback ports, started by the tests that need them."""

from __future__ import annotations

import itertools
import logging
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import boto3
import psycopg
from moto.server import ThreadedMotoServer

from server.repositories.postgres import PostgresDatabase
from server.stores.s3_bucket import Bucket, S3Config
from tests.loopback import free_port

PASSWORD = "swordfish-of-the-tests"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "tests",
    "AWS_SECRET_ACCESS_KEY": "tests-secret",
    "AWS_EC2_METADATA_DISABLED": "true",
}


def postgres_programs() -> Path | None:
    """The folder of initdb, pg_ctl and postgres; None where PostgreSQL is not installed."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)
    found = shutil.which("postgres")
    folders = [*([Path(found).resolve().parent] if found else []), *installed]
    return next((each for each in folders if (each / "initdb").exists() and (each / "pg_ctl").exists()), None)


class PostgresServer:
    """A server in a temporary folder, gone with it. PostgreSQL refuses root, so root runs it as another user."""

    def __init__(self, programs: Path) -> None:
        self._programs, self.port = programs, free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="upcycle-postgres-"))
        self._user = _other_user() if os.geteuid() == 0 else None
        (self._folder / "password").write_text(PASSWORD)
        if self._user is not None:
            for path in (self._folder, self._folder / "password"):
                os.chown(path, self._user.pw_uid, self._user.pw_gid)
        self._numbers = itertools.count()
        self._run("initdb", "-D", "data", "-U", "upcycle", "--pwfile=password", "--auth=scram-sha-256", "--no-sync",
                  "--encoding=UTF8", "--no-locale")  # fmt: skip
        self.start()
        self._tables = self._migrate()

    def start(self) -> None:
        """Start it and wait until it answers; also after `stop`."""
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
        self._run("pg_ctl", "-D", "data", "-w", "-s", "-l", "log", "-o", options, "start")

    def stop(self) -> None:
        """Stop it as a crash would: at once, connections are cut."""
        self._run("pg_ctl", "-D", "data", "-w", "-s", "-m", "immediate", "stop")

    def remove(self) -> None:
        """Stop it for good."""
        self.stop()
        shutil.rmtree(self._folder)

    def url(self, database: str) -> str:
        """The URL of a database, with the password."""
        return f"postgresql://upcycle:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def empty_database(self) -> str:
        """The URL of the one database of the session, as its migrations leave it; the quickest."""
        self.execute(f"TRUNCATE {self._tables} RESTART IDENTITY", "shared")
        self.execute(f"INSERT INTO access_log_head VALUES (1, 0, '{'0' * 64}')", "shared")
        return self.url("shared")

    def new_database(self, name: str | None = None, encoding: str = "UTF8") -> str:
        """The URL of a database of its own, in which nothing is."""
        name = name or f"test_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}'")
        return self.url(name)

    def execute(self, statement: str, database: str = "postgres") -> list[Any]:
        """Run one statement beside the program under test."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement)  # type: ignore[call-overload]
            return list(cursor) if cursor.description else []

    def _migrate(self) -> str:
        PostgresDatabase(self.new_database("shared")).close()
        query = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'"
        return ", ".join(name for (name,) in self.execute(query, "shared"))

    def _run(self, program: str, *arguments: str) -> None:
        user = {} if self._user is None else {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C", "HOME": str(self._folder)}
        output = subprocess.run(
            [str(self._programs / program), *arguments], cwd=self._folder, env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=120, check=False, **user,  # type: ignore[call-overload]
        )  # fmt: skip
        assert output.returncode == 0, f"{program}: {output.stderr}"


class S3Server:
    """moto's S3 API in a thread, in memory."""

    def __init__(self) -> None:
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._server.start()
        host, port = self._server.get_host_and_port()
        self.endpoint, self._numbers = f"http://{host}:{port}", itertools.count()
        self.client = boto3.client(
            "s3", endpoint_url=self.endpoint, region_name="us-east-1", aws_access_key_id="tests",
            aws_secret_access_key="tests-secret",
        )  # fmt: skip

    def new_bucket(self) -> str:
        """The name of a bucket of its own."""
        name = f"test-{next(self._numbers)}"
        self.client.create_bucket(Bucket=name)
        return name

    def bucket(self, name: str | None = None, **changed: Any) -> Bucket:
        """An open bucket, a new one where none is named."""
        return Bucket(S3Config(bucket=name or self.new_bucket(), endpoint=self.endpoint, prefix="fleet/a", **changed))

    def keys(self, name: str) -> list[str]:
        """All objects of a bucket."""
        return [each["Key"] for each in self.client.list_objects_v2(Bucket=name).get("Contents", ())]

    def remove(self) -> None:
        """Stop it."""
        self.client.close()
        self._server.stop()


def _other_user() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise AssertionError("this machine knows neither the user postgres nor nobody: run the tests as another than root")
