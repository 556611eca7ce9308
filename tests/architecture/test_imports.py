"""Import directions that need no map of the whole project; `lint-imports` checks the layers."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SERVER_LIBRARIES = ("sqlalchemy", "alembic", "fastapi", "starlette", "uvicorn", "prometheus_client", "grpc_health")
NETWORK_LIBRARIES = (*SERVER_LIBRARIES, "grpc", "google.protobuf", "flwr")

# family: (module of the table, name of the table)
FAMILIES = {
    "codecs": ("shared_models.codecs", "CODECS"),
    "datasets": ("shared_models.datasets", "DATASETS"),
    "guards": ("shared_models.guards", "GUARDS"),
    "detectors": ("shared_models.detectors", "DETECTORS"),
}

BLOCKER = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if any(name == b or name.startswith(b + ".") for b in BLOCKED):
            raise ModuleNotFoundError(f"No module named {name!r} (blocked by the test)", name=name)
BLOCKED = %r
sys.meta_path.insert(0, Blocker())
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, timeout=120)


def modules_of(package: str) -> list[str]:
    paths = sorted((REPOSITORY / package).rglob("*.py"))
    names = [".".join(path.relative_to(REPOSITORY).with_suffix("").parts) for path in paths]
    return [name.removesuffix(".__init__") for name in names]


def test_shared_models_stands_on_its_own():
    """Every module of shared_models can be imported where no network, database or web library is installed."""
    optional = ("spconv",)
    code = BLOCKER % (NETWORK_LIBRARIES,) + (
        "from importlib import import_module\n"
        f"for name in {modules_of('shared_models')!r}:\n"
        "    try:\n        import_module(name)\n"
        "    except ModuleNotFoundError as error:\n"
        f"        assert error.name.split('.')[0] in {optional!r}, (name, error)\n"
    )
    result = run(code)
    assert result.returncode == 0, result.stderr


def test_the_vehicle_needs_nothing_of_the_server():
    """Every module of the vehicle, and its help, work where the server's package and libraries are missing."""
    code = BLOCKER % ((*SERVER_LIBRARIES, "server"),) + (
        "from importlib import import_module\n"
        f"for name in {modules_of('vehicle_client')!r}:\n    import_module(name)\n"
        "sys.argv = ['upcycle', 'vehicle', 'replay', '--help']\n"
        "from upcycle.cli import main\n"
        "main()\n"
    )
    result = run(code)
    assert result.returncode == 0, result.stderr
    assert "--dataset" in result.stdout


@pytest.mark.parametrize("missing", [SERVER_LIBRARIES, ("server",)], ids=["libraries", "package"])
def test_the_server_command_where_the_server_is_not_installed_names_the_extra(missing):
    code = BLOCKER % (missing,) + ("sys.argv = ['upcycle', 'server', 'ls']\nfrom upcycle.cli import main\nmain()\n")
    result = run(code)
    assert result.returncode == 3, result.stdout + result.stderr
    assert "pip install 'upcycle-fleet[server]'" in result.stderr


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_members_of_a_family_do_not_import_each_other(family):
    module, table_name = FAMILIES[family]
    table = getattr(import_module(module), table_name)
    members = {target.partition(":")[0] for target in table.values()}
    for member in members:
        path = REPOSITORY / Path(*member.split(".")).with_suffix(".py")
        assert path.is_file(), f"{member} of the table {table_name} is not a module of its own"
        others = imported(path) & (members - {member})
        assert not others, f"{member} imports {sorted(others)} of its own family"


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_family_has_an_interface_and_a_contract_test(family):
    singular = family.removesuffix("s")
    assert (REPOSITORY / "shared_models" / f"{singular}.py").is_file()
    assert (REPOSITORY / "tests" / "contracts" / f"test_{family}.py").is_file()


def imported(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found
