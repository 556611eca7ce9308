from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from server.training.shared_norm import SharedBatchNorm, share_batch_norm
from tests.norm_processes import make_network

# Rows in each of two processes, for each of two steps.
ROWS = {
    "equal": ((6, 4), (6, 4)),
    "unequal": ((9, 2), (1, 7)),
    "none in one": ((0, 5), (6, 0)),
    "far from zero": ((40, 30), (30, 40)),
}


def case_of(name: str, rows: tuple[tuple[int, int], tuple[int, int]], is_map: bool) -> dict:
    generator = torch.Generator().manual_seed(1)
    size = (3, 4, 2) if is_map else (3,)
    values = [[torch.randn((n, *size), generator=generator) for n in own] for own in rows]
    if name == "far from zero":
        values = [[one * 0.05 + 20 for one in own] for own in values]
    answer = (5, 4, 2) if is_map else (5,)
    factors = [[torch.randn((n, *answer), generator=generator) for n in own] for own in rows]
    return {"is_map": is_map, "values": values, "factors": factors}


CASES = {f"{name}{' map' * is_map}": case_of(name, rows, is_map) for name, rows in ROWS.items() for is_map in (0, 1)}


@pytest.fixture(scope="module")
def answers(tmp_path_factory, repository: Path) -> list[dict]:
    folder = tmp_path_factory.mktemp("processes")
    torch.save(CASES, folder / "cases.pt")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.norm_processes", str(folder / "cases.pt"), str(folder)]
    processes = [
        subprocess.Popen(
            command, cwd=repository, stderr=subprocess.PIPE, text=True,
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]  # fmt: skip
    try:
        for process in processes:
            _, said = process.communicate(timeout=120)
            assert process.returncode == 0, said
    finally:
        for process in processes:
            process.kill()
    return [torch.load(folder / f"rank-{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("name", CASES)
def test_two_processes_are_one_batch_norm_over_the_joined_batch(answers: list[dict], name: str) -> None:
    """Values, gradients of rows and of every parameter, and running statistics, over two steps.

    Beside torch's norm in float64: in float32 that one loses digits where the values are far from 0.
    """
    case, network = CASES[name], make_network(CASES[name]).double()
    is_far = name.startswith("far")
    tolerance = {"rtol": 1e-3 if is_far else 1e-4, "atol": 1e-2 if is_far else 1e-5}

    def check(found: torch.Tensor, expected: torch.Tensor) -> None:
        torch.testing.assert_close(found.to(expected.dtype), expected, **tolerance)

    for step in range(2):
        joined = torch.cat([own[step] for own in case["values"]]).double().requires_grad_()
        network.zero_grad()
        expected = network(joined)
        (expected * torch.cat([own[step] for own in case["factors"]])).sum().backward()
        found = [own[name]["results"][step] for own in answers]
        assert [len(share[0]) for share in found] == [len(own[step]) for own in case["values"]]
        check(torch.cat([share[0] for share in found]), expected.detach())
        check(torch.cat([share[1] for share in found]), joined.grad)
        for gradients in (own[2] for own in found):
            for gradient, parameter in zip(gradients, network.parameters(), strict=True):
                check(gradient, parameter.grad)
    for state in (own[name]["state"] for own in answers):
        assert state.keys() == network.state_dict().keys()
        for key, value in network.state_dict().items():
            torch.testing.assert_close(state[key].to(value.dtype), value, rtol=1e-4, atol=1e-6)


def test_numbers_and_names_of_all_processes(answers: list[dict]) -> None:
    for own in answers:
        assert own["summed"] == [2.0, 1.0]
        assert own["gathered"] == ((0, "x"), (1, "x"))
        assert own["names"] == ("a0", "a1")


def alone(monkeypatch, norm: nn.Module) -> SharedBatchNorm:
    """A shared norm whose process is the only one."""
    monkeypatch.setattr("server.training.shared_norm.summed", lambda sums: sums)
    return SharedBatchNorm(norm)


@pytest.mark.parametrize("count", [0, 1])
def test_no_variance_to_learn_from(monkeypatch, count: int) -> None:
    """As one process does it: what was learned so far normalises a single row, and nothing is learned."""
    norm = nn.BatchNorm1d(3)
    with torch.no_grad():
        norm.running_mean.fill_(2.0)
        norm.running_var.fill_(4.0)
    shared, rows = alone(monkeypatch, norm), torch.full((count, 3), 5.0, requires_grad=True)
    before = {name: value.clone() for name, value in shared.state_dict().items()}
    found = shared(rows)
    torch.testing.assert_close(found, torch.full((count, 3), 1.5), rtol=1e-5, atol=1e-5)
    found.sum().backward()
    assert torch.isfinite(rows.grad).all()
    assert all(torch.equal(value, before[name]) for name, value in shared.state_dict().items())


def test_evaluation_is_that_of_the_norm_itself(monkeypatch) -> None:
    norm = nn.BatchNorm2d(3)
    norm(torch.rand(4, 3, 5, 5))
    shared = alone(monkeypatch, norm).eval()
    values = torch.rand(2, 3, 5, 5)
    torch.testing.assert_close(shared(values), norm.eval()(values))


def test_short_floats_come_back_as_they_were(monkeypatch) -> None:
    values = torch.rand(50, 3).bfloat16()
    found = alone(monkeypatch, nn.BatchNorm1d(3))(values)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), nn.BatchNorm1d(3)(values.float()), rtol=0.02, atol=0.02)


def test_one_process_keeps_its_norms() -> None:
    network = nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.BatchNorm1d(3)))
    assert share_batch_norm(network) is network
    assert isinstance(network[1][0], nn.BatchNorm1d)
