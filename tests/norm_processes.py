"""One of several processes that normalise their shares of a batch; run by tests in torchrun's environment.

python -m tests.norm_processes CASES.pt FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from server.training.processes import joined
from server.training.shared_norm import share_batch_norm


def main(cases: Path, folder: Path) -> None:
    """Write what came out of each case for this process's share."""
    torch.set_num_threads(1)
    with joined("cpu") as processes:
        given = torch.load(cases, weights_only=True)
        found = {name: answer(case, processes.rank) for name, case in given.items()}
        found["summed"] = processes.summed([1.0, float(processes.rank)], torch.device("cpu"))
        found["gathered"] = processes.gathered((processes.rank, "x"))
        found["names"] = processes.joined_names([f"a{processes.rank}"])
        torch.save(found, folder / f"rank-{processes.rank}.pt")


def answer(case: dict[str, Any], rank: int) -> dict[str, Any]:
    """A layer, a norm, a layer; the loss is the sum over all processes of values times given factors."""
    network = make_network(case)
    share_batch_norm(network)
    parallel = DistributedDataParallel(network, forward_sync_buffers=False)
    results = []
    for values, factors in zip(case["values"][rank], case["factors"][rank], strict=True):
        values = values.clone().requires_grad_()
        normalised = parallel(values)
        parallel.zero_grad()
        # DDP takes the mean over processes; the reference has one sum.
        (normalised * factors).sum().mul(2).backward()
        results.append((normalised.detach(), values.grad / 2, [p.grad.clone() for p in network.parameters()]))
    return {"results": results, "state": network.state_dict()}


def make_network(case: dict[str, Any]) -> nn.Module:
    """The same in every process and in the test."""
    torch.manual_seed(3)
    if case["is_map"]:
        network = nn.Sequential(nn.Conv2d(3, 5, 1), nn.BatchNorm2d(5, eps=1e-3, momentum=0.01), nn.Conv2d(5, 5, 1))
    else:
        network = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5, eps=1e-3, momentum=0.01), nn.Linear(5, 5))
    with torch.no_grad():
        network[1].weight.uniform_(0.5, 1.5)
        network[1].bias.uniform_(-1, 1)
    return network


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
