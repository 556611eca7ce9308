"""Several processes that train one model, as torchrun starts them; one process without it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import torch
from torch import distributed

from shared_models.errors import ConfigError, DeviceError

# The others wait while the first process evaluates; torchrun ends them where one of them fails.
PATIENCE: Final = timedelta(hours=12)


@dataclass(frozen=True, slots=True, kw_only=True)
class Processes:
    """This process's place among those that train together.

    rank: from 0. count: of all machines. local_rank: on this machine, which chooses the GPU.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0

    @property
    def is_first(self) -> bool:
        """Whether this process writes checkpoints, numbers and messages."""
        return self.rank == 0

    def wait(self) -> None:
        """Return when every process is here."""
        if self.count > 1:
            distributed.barrier()

    def summed(self, values: Sequence[float], device: torch.device) -> list[float]:
        """Each of the values, summed over all processes; the same numbers, bit for bit, in each of them."""
        if self.count == 1:
            return list(values)
        # NCCL needs tensors on the GPU, gloo takes either.
        together = torch.tensor(values, dtype=torch.float64, device=device)
        distributed.all_reduce(together)
        return [float(value) for value in together.tolist()]

    def gathered(self, value: Any) -> tuple[Any, ...]:
        """The plain value that each process gives, by rank; the same in each of them."""
        if self.count == 1:
            return (value,)
        found: list[Any] = [None] * self.count
        distributed.all_gather_object(found, value)
        return tuple(found)

    def joined_names(self, names: Sequence[str]) -> tuple[str, ...]:
        """The names of all processes, one after the other."""
        return tuple(name for own in self.gathered(list(names)) for name in own)


@contextmanager
def joined(device_type: str) -> Iterator[Processes]:
    """The process group that torchrun's environment describes, for as long as the block runs.

    Raises:
        ConfigError: the environment is incomplete.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Processes()
        return
    missing = [name for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if missing:
        raise ConfigError(f"WORLD_SIZE is set, {', '.join(missing)} not: start several processes with torchrun")
    if device_type == "cuda":
        torch.cuda.set_device(_gpu(int(os.environ["LOCAL_RANK"])))
    distributed.init_process_group("nccl" if device_type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield Processes(
            rank=distributed.get_rank(),
            count=distributed.get_world_size(),
            local_rank=int(os.environ["LOCAL_RANK"]),
        )
    finally:
        distributed.destroy_process_group()


def choose_device(wanted: str, processes: Processes) -> torch.device:
    """ "auto" is this process's GPU where there is one, else the CPU.

    Raises:
        DeviceError: a GPU is wanted and there is none.
    """
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "cuda":
        if not torch.cuda.is_available():
            raise DeviceError("loop.device is cuda, but torch finds no GPU here: set it to auto or cpu")
        return torch.device("cuda", _gpu(processes.local_rank))
    return torch.device(wanted)


def _gpu(local_rank: int) -> int:
    return local_rank % max(1, torch.cuda.device_count())
