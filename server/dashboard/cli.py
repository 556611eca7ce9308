"""`upcycle dashboard`: look at vehicles, stored scenes and training runs in a browser."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def dashboard(
    data: Annotated[Path, typer.Option("--data", help="Folder of the server's data.")] = Path("upcycle-data"),
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = 8350,
    checkpoint: Annotated[
        list[Path] | None,
        typer.Option(help="Checkpoint folder, or OpenPCDet .pth file, that detects in stored scenes; repeatable."),
    ] = None,
    name: Annotated[
        list[str] | None, typer.Option(help="Further host name under which browsers may reach it; repeatable.")
    ] = None,
    insecure_public: Annotated[
        bool, typer.Option("--insecure-public", help="Listen beyond this machine: without password or encryption.")
    ] = False,
) -> None:
    """Show vehicles, stored scenes and training runs until stopped; prints "dashboard on http://HOST:PORT/".

    It only reads, also beside a running server and running training, and logs which scenes are looked at.
    """
    import uvicorn

    from server.dashboard.address import Address
    from server.dashboard.api import Sources
    from server.dashboard.app import make_app
    from server.dashboard.detection import SceneDetector
    from server.dashboard.scene_view import SceneViewer
    from server.repositories.archive import open_archive, open_run_log
    from server.repositories.read_recorder import ReadRecorder

    address = Address(host=host, port=port, is_public_allowed=insecure_public, names=tuple(name or ()))
    if not address.is_loopback:
        print(f"WARNING: INSECURE: {host} is open to the network; everyone may read", file=sys.stderr, flush=True)
    archive, run_log = open_archive(data), open_run_log(data)
    recorder = ReadRecorder(data, role="dashboard")
    viewer = SceneViewer(archive, [SceneDetector.open(path) for path in checkpoint or ()], recorder)
    sources = Sources(catalogue=archive.catalogue, viewer=viewer, run_log=run_log, data=data, now_ns=time.time_ns)
    config = uvicorn.Config(
        make_app(sources, address), log_level="warning", lifespan="off", ws="none", server_header=False
    )
    try:
        with address.listen() as socket:
            shown = f"[{host}]" if ":" in host else host
            print(f"dashboard on http://{shown}:{socket.getsockname()[1]}/", flush=True)
            uvicorn.Server(config).run(sockets=[socket])
    finally:
        recorder.close()
        run_log.close()
        archive.close()


if __name__ == "__main__":
    app()
