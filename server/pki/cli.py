"""`upcycle server pki`: certificates of servers, vehicles, operators and auditors."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from server.pki.authority import Authority, Issued

PASSPHRASE = "UPCYCLE_CA_PASSPHRASE"  # of the authority's key; from the environment only
DEFAULT_FOLDER, DEFAULT_NAME = Path("upcycle-pki"), "Upcycle fleet CA"
DEFAULT_DAYS, DEFAULT_CA_DAYS = 365, 3650

app = typer.Typer(no_args_is_help=True, help="Issue, revoke and rotate the fleet's certificates.")

FolderOption = Annotated[Path, typer.Option("--pki", help="Folder of the certificate authority.")]
RequestOption = Annotated[
    Path | None, typer.Option("--csr", help="Certificate request of a holder that keeps its key to itself.")
]
What = Annotated[str, typer.Argument(metavar="ROLE/NAME", help="For example vehicle/car-1 or server/ingest.")]


@app.command()
def init(
    pki: FolderOption = DEFAULT_FOLDER,
    name: Annotated[str, typer.Option(help="Name in the authority's certificate.")] = DEFAULT_NAME,
    days: Annotated[int, typer.Option(help="Days that the authority is valid.", min=1)] = DEFAULT_CA_DAYS,
) -> None:
    """Make a certificate authority; UPCYCLE_CA_PASSPHRASE, where set, encrypts its key."""
    from server.pki.authority import create_authority

    create_authority(pki, name, _now(), days, _passphrase())
    if _passphrase() is None:
        typer.echo(f"WARNING: the authority's key is not encrypted; set {PASSPHRASE} to encrypt one", err=True)
    typer.echo(f"authority in {pki}; keep it off the server, and back it up")


@app.command()
def issue(
    what: What,
    pki: FolderOption = DEFAULT_FOLDER,
    host: Annotated[list[str] | None, typer.Option(help="DNS name or IP address of a server, repeatable.")] = None,
    days: Annotated[int, typer.Option(help="Days that the certificate is valid.", min=1)] = DEFAULT_DAYS,
    csr: RequestOption = None,
) -> None:
    """Make the first certificate of a vehicle, operator, auditor or server; prints its folder."""
    from server.pki.identity import parse_identity
    from server.pki.requests import load_request

    request = None if csr is None else load_request(csr)
    typer.echo(_authority(pki).issue(parse_identity(what), _now(), days, host or (), request))


@app.command()
def rotate(
    what: Annotated[str, typer.Argument(metavar="ROLE/NAME|ca", help="Whose certificate; ca: the authority itself.")],
    pki: FolderOption = DEFAULT_FOLDER,
    days: Annotated[int | None, typer.Option(help="Days that the new certificate is valid.", min=1)] = None,
    csr: RequestOption = None,
    revoke_old: Annotated[
        bool, typer.Option("--revoke-old", help="Revoke the earlier ones at once instead of letting them run out.")
    ] = False,
) -> None:
    """Make a new certificate for the same identity; the old one stays valid until it is revoked or expires."""
    from server.pki.identity import parse_identity
    from server.pki.requests import load_request

    authority = _authority(pki)
    if what == "ca":
        made = authority.rotate_authority(DEFAULT_NAME, _now(), days or DEFAULT_CA_DAYS)
        typer.echo(f"new authority {_name(made)}")
        typer.echo(f"now hand out {pki / 'ca.pem'}, then rotate every certificate, then `pki retire`")
        return
    identity = parse_identity(what)
    earlier = [each for each in authority.issued() if each.identity == identity and each.revoked_at is None]
    request = None if csr is None else load_request(csr)
    typer.echo(authority.rotate(identity, _now(), days or DEFAULT_DAYS, request))
    for each in earlier if revoke_old else ():
        authority.revoke(each.serial, _now())


@app.command()
def revoke(
    what: Annotated[str, typer.Argument(metavar="ROLE/NAME|SERIAL", help="All of this identity, or a single one.")],
    pki: FolderOption = DEFAULT_FOLDER,
) -> None:
    """Revoke certificates; a server that has the new crl.pem refuses them within a second."""
    for each in _authority(pki).revoke(what, _now()):
        typer.echo(f"revoked {each.identity} {each.serial}")
    typer.echo(f"now bring {pki / 'crl.pem'} to every server that does not read its folder in there")


@app.command()
def retire(
    pki: FolderOption = DEFAULT_FOLDER,
    force: Annotated[bool, typer.Option("--force", help="Also where valid certificates of them are left.")] = False,
) -> None:
    """End the trust in earlier authorities, the last step of `rotate ca`."""
    retired = _authority(pki).retire(_now(), force)
    typer.echo("\n".join(f"retired {_name(each)}" for each in retired) or "there is only one authority")


@app.command(name="list")
def list_certificates(
    pki: FolderOption = DEFAULT_FOLDER,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List every certificate that was issued and whether it is valid."""
    rows = [_row(each) for each in _authority(pki).issued()]
    if as_json:
        for row in rows:
            print(json.dumps(row))
        return
    table = Table()
    for heading in ("identity", "state", "valid until", "hosts", "serial"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        hosts = " ".join(row["hosts"])
        table.add_row(escape(row["identity"]), row["state"], row["not_after"], escape(hosts), row["serial"])
    Console().print(table)


def _row(issued: Issued) -> dict[str, Any]:
    certificate = issued.certificate
    return {
        "identity": str(issued.identity),
        "state": issued.state(_now()),
        "not_before": _iso(certificate.not_valid_before_utc),
        "not_after": _iso(certificate.not_valid_after_utc),
        "revoked_at": None if issued.revoked_at is None else _iso(issued.revoked_at),
        "hosts": list(issued.hosts),
        "issuer": _text(certificate.issuer),
        "serial": issued.serial,
    }


def _authority(folder: Path) -> Authority:
    from server.pki.authority import Authority

    return Authority(folder, _passphrase())


def _passphrase() -> bytes | None:
    return os.environ.get(PASSPHRASE, "").encode() or None


def _name(certificate: Any) -> str:
    return _text(certificate.subject)


def _text(name: Any) -> str:
    return str(name.rfc4514_string())


def _now() -> datetime:
    return datetime.now(UTC)


def _iso(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
