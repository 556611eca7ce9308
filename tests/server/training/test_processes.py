from __future__ import annotations

import pytest
import torch

from server.training.processes import Processes, choose_device, joined
from shared_models.errors import ConfigError, DeviceError

CPU = torch.device("cpu")


@pytest.mark.parametrize("size", [None, "1"])
def test_one_process_without_torchrun(monkeypatch, size: str | None) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    if size is not None:
        monkeypatch.setenv("WORLD_SIZE", size)
    with joined("cpu") as processes:
        assert processes == Processes(rank=0, count=1, local_rank=0)
        assert processes.is_first
        processes.wait()
        assert processes.summed([1.5, 2], CPU) == [1.5, 2]
        assert processes.gathered((1, "x")) == ((1, "x"),)
        assert processes.joined_names(["a", "b"]) == ("a", "b")
    assert not torch.distributed.is_initialized()


def test_half_an_environment_says_what_is_missing(monkeypatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RANK", "0")
    with (
        pytest.raises(ConfigError, match="LOCAL_RANK, MASTER_ADDR, MASTER_PORT not: start several processes with"),
        joined("cpu"),
    ):
        pass


@pytest.mark.parametrize(("gpus", "rank", "expected"), [(0, 1, "cpu"), (4, 1, "cuda:1"), (4, 5, "cuda:1")])
def test_auto_takes_this_processs_gpu_where_there_is_one(monkeypatch, gpus: int, rank: int, expected: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    assert choose_device("auto", Processes(rank=rank, count=8, local_rank=rank)) == torch.device(expected)
    assert choose_device("cpu", Processes()) == CPU


def test_a_gpu_that_is_not_there(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError, match="torch finds no GPU here: set it to auto or cpu"):
        choose_device("cuda", Processes())
