"""The committed stubs are what the .proto files give."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from protos.generate import PROTOS, TOOLS_VERSION, generate

pytest.importorskip("grpc_tools", reason=f"needs grpcio-tools=={TOOLS_VERSION} (extra dev)")


def test_stubs_are_what_the_proto_files_give(tmp_path: Path, repository: Path) -> None:
    made = {path.name: path.read_bytes() for path in generate(tmp_path)}
    committed = {path.name: path.read_bytes() for path in (repository / "protos" / "v1").glob("*_pb2*.py*")}
    assert sorted(made) == sorted(committed)
    for name, content in made.items():
        assert content == committed[name], f"{name} differs: run `python -m protos.generate`"


def test_every_proto_file_is_generated(repository: Path) -> None:
    assert sorted(PROTOS) == sorted(f"protos/v1/{p.name}" for p in (repository / "protos" / "v1").glob("*.proto"))


def test_stubs_can_be_imported_and_name_the_package() -> None:
    for name in ("common_pb2", "ingest_pb2", "delivery_pb2"):
        assert importlib.import_module(f"protos.v1.{name}").DESCRIPTOR.package == "upcycle.v1"
