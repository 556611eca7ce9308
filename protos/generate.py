"""Make the Python stubs in protos/v1 from its .proto files: `python -m protos.generate [TARGET]`."""

from __future__ import annotations

import sys
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from shared_models.errors import ConfigError, MissingDependencyError

ROOT = Path(__file__).resolve().parent.parent
PROTOS = tuple(f"protos/v1/{name}.proto" for name in ("common", "ingest", "delivery"))
WITH_SERVICES = PROTOS[1:]
TOOLS_VERSION = "1.81.1"  # writes protobuf-6 code, which also loads under protobuf 7


def generate(target: Path, root: Path = ROOT) -> list[Path]:
    """Write `target`/protos/v1/*_pb2*.py(i) and return their paths, sorted.

    Raises:
        MissingDependencyError: grpcio-tools is not installed in the pinned version.
        ConfigError: protoc refuses a file (it prints why).
    """
    try:
        from grpc_tools import protoc  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingDependencyError(f"stubs need grpcio-tools=={TOOLS_VERSION}: pip install -e '.[dev]'") from error
    if version("grpcio-tools") != TOOLS_VERSION:
        raise MissingDependencyError(
            f"stubs are made with grpcio-tools {TOOLS_VERSION}, {version('grpcio-tools')} is installed: "
            "pip install -e '.[dev]'"
        )
    include = [f"-I{root}", f"-I{files('grpc_tools') / '_proto'}"]
    target.mkdir(parents=True, exist_ok=True)
    _run(protoc, [*include, f"--python_out={target}", f"--pyi_out={target}", *PROTOS])
    _run(protoc, [*include, f"--grpc_python_out={target}", *WITH_SERVICES])
    return sorted((target / "protos" / "v1").glob("*_pb2*.py*"))


def _run(protoc: Any, arguments: list[str]) -> None:
    if protoc.main(["protoc", *arguments]) != 0:
        raise ConfigError(f"protoc refused {' '.join(arguments)}; its message stands above")


if __name__ == "__main__":
    for path in generate(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT):
        print(path)
