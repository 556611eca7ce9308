"""docker-compose.yml without Docker: each service's command runs as a process, names mapped to this machine."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
TIMEOUT_S = 120
VEHICLES = 2


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    text = (REPOSITORY / "docker-compose.yml").read_text(encoding="utf-8")
    return yaml.safe_load(interpolated(text, {"WORLD": "simulated,drives=1,frames_per_drive=3", "RATE_HZ": "0"}))


def interpolated(text: str, environment: dict[str, str]) -> str:
    """`text` with ${NAME:-default} and ${NAME:?message} replaced as docker compose does."""

    def value(match: re.Match[str]) -> str:
        name, kind, rest = match[1], match[2], match[3]
        if name in environment:
            return environment[name]
        assert kind != ":?", f"{name} must be set: {rest}"
        return rest

    return re.sub(r"\$\{(\w+)(:-|:\?)([^}]*)\}", value, text)


def command(words: list[str], replacements: dict[str, str]) -> list[str]:
    """A container's command for this machine: the interpreter of the tests, and names mapped."""
    programs = {"upcycle": [sys.executable, "-m", "upcycle"], "python": [sys.executable]}
    mapped = []
    for word in words[1:]:
        for name, local in replacements.items():
            word = word.replace(name, local)
        mapped.append(word)
    return [*programs[words[0]], *mapped]


def dockerfile(service: dict[str, Any]) -> str:
    return (REPOSITORY / service["build"]["dockerfile"]).read_text(encoding="utf-8")


def entrypoint(service: dict[str, Any]) -> list[str]:
    match = re.search(r"^ENTRYPOINT (\[.*\])$", dockerfile(service), re.M)
    assert match is not None
    return json.loads(match[1])


def run(words: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run(words, cwd=REPOSITORY, env=variables, capture_output=True, text=True, timeout=TIMEOUT_S)


@contextmanager
def running_server(compose: dict[str, Any], data: Path) -> Iterator[str]:
    """Starts the service `server`; gives its port."""
    service = compose["services"]["server"]
    replacements = {"0.0.0.0": "127.0.0.1", "50051": "0", "/var/lib/upcycle": str(data)}
    words = command([*entrypoint(service), *service["command"]], replacements)
    log = data.with_suffix(".log")
    with (
        log.open("w") as errors,
        subprocess.Popen(words, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("listening on "), log.read_text()
            yield line.strip().rpartition(":")[2]
        finally:
            process.terminate()
            assert process.wait(timeout=TIMEOUT_S) == 0, log.read_text()


@pytest.mark.parametrize("service", ["vehicle", pytest.param("vehicle-kitti", marks=pytest.mark.slow)])
def test_services_run_as_written_and_nothing_is_lost(service: str, compose, make_kitti, tmp_path: Path):
    frames = 3
    root, data = make_kitti(training=2, testing=1), tmp_path / "data"
    server, vehicle = compose["services"]["server"], compose["services"][service]
    with running_server(compose, data) as port:
        check = run(command(server["healthcheck"]["test"][1:], {"50051": port}))
        assert check.returncode == 0, check.stderr
        for index in range(VEHICLES):  # --scale vehicle=2
            names = {
                "server:50051": f"127.0.0.1:{port}",
                "/data/kitti": str(root),
                "/var/lib/upcycle": str(tmp_path / f"vehicle-{index}"),
            }
            words = command([*entrypoint(vehicle), *vehicle["command"]], names)
            drive = run(words, UPCYCLE_VEHICLE_ID=f"container-{index}")
            assert drive.returncode == 0, drive.stdout + drive.stderr
            health = run(command(vehicle["healthcheck"]["test"][1:], names))
            assert health.returncode == 0, health.stderr
            assert len(list((tmp_path / f"vehicle-{index}" / "detections").glob("*.npz"))) == frames
    stored = run([*command(["upcycle"], {}), "server", "ls", "--data", str(data), "--json"])
    rows = [json.loads(line) for line in stored.stdout.splitlines()]
    assert len(rows) == VEHICLES * frames
    assert len({row["vehicle"] for row in rows}) == VEHICLES


def test_an_unhealthy_server_is_noticed(compose):
    test = compose["services"]["server"]["healthcheck"]["test"]
    # Nothing listens on port 1 of this machine.
    assert run(command(test[1:], {"50051": "1"})).returncode != 0


def test_an_unhealthy_vehicle_is_noticed(compose, tmp_path: Path):
    test = compose["services"]["vehicle"]["healthcheck"]["test"]
    assert run(command(test[1:], {"/var/lib/upcycle": str(tmp_path)})).returncode != 0


def test_vehicles_can_be_scaled(compose):
    vehicle = compose["services"]["vehicle"]
    assert not {"ports", "container_name", "hostname"} & vehicle.keys()
    assert "--vehicle-id" not in vehicle["command"]
    # a state of its own for each container: an unnamed volume
    assert "/var/lib/upcycle" in vehicle["volumes"]


def test_the_server_keeps_its_data_in_a_volume(compose):
    (mount,) = compose["services"]["server"]["volumes"]
    name, _, target = mount.partition(":")
    assert name in compose["volumes"]
    assert target in compose["services"]["server"]["command"]


def test_a_vehicle_waits_for_a_healthy_server(compose):
    assert compose["services"]["vehicle"]["depends_on"]["server"]["condition"] == "service_healthy"


@pytest.mark.parametrize("service", ["vehicle", "vehicle-kitti"])
def test_a_vehicle_uses_one_thread_and_starts_again_after_an_error(service: str, compose):
    vehicle = compose["services"][service]
    words = vehicle["command"]
    assert words[words.index("--threads") + 1] == "1"
    assert vehicle["environment"] == {"OMP_NUM_THREADS": "1"}
    assert vehicle["restart"] == "on-failure"


@pytest.mark.parametrize("service", ["server", "vehicle"])
def test_where_packages_come_from_can_be_told(service: str, compose):
    """By arguments of the build that have no value of their own and are declared before packages are installed."""
    build = compose["services"][service]["build"]
    assert build["args"] == ["PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"]
    before_install = dockerfile(compose["services"][service]).partition("pip install")[0]
    for name in build["args"]:
        assert re.search(rf"^ARG {name}$", before_install, re.M)


def test_real_scans_are_a_profile_of_their_own(compose):
    """So that nothing has to be set for a simulated fleet."""
    assert "profiles" not in compose["services"]["vehicle"]
    assert compose["services"]["vehicle-kitti"]["profiles"] == ["kitti"]
    assert ":?" not in (REPOSITORY / "docker-compose.yml").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["server", "vehicle"])
def test_images_are_small_and_without_rights(compose, name):
    service = compose["services"][name]
    text = dockerfile(service)
    assert re.search(r"^USER (?!root|0)\w+$", text, re.M)
    extras = {"server": "server,scale", "vehicle": "vehicle,sim"}[name]
    assert f"pip install '.[{extras}]'" in text
    assert "PIP_CONSTRAINT=constraints.txt" in text
    assert service["cap_drop"] == ["ALL"]
    copied = [word for line in re.findall(r"^COPY (.*)$", text, re.M) for word in line.split()[:-1]]
    ignored = (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert all((REPOSITORY / word).exists() and word not in ignored for word in copied)
    assert ("server" in copied) == (name == "server")
