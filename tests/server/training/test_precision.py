from __future__ import annotations

import pytest
import torch
from torch import nn

from server.training import precision
from shared_models.errors import ConfigError, DeviceError

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("units", "expected"),
    [({}, "float32"), ({"avx512_bf16": True}, "bfloat16"), ({"amx_bf16": True}, "bfloat16"), ({"avx2": 1}, "float32")],
)
def test_auto_takes_bfloat16_where_the_processor_has_units_for_it(monkeypatch, units, expected: str) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: units)
    assert precision.resolve("auto", CPU) == expected
    assert precision.resolve("float32", CPU) == "float32"
    assert precision.resolve("bfloat16", CPU) == "bfloat16"  # slow on some processors, but possible on all


def test_a_gpu_without_bfloat16_units(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation)
    gpu = torch.device("cuda", 0)
    assert precision.resolve("auto", gpu) == "float32"
    with pytest.raises(DeviceError, match="cuda:0 has no bfloat16 units: set loop.precision to auto or float32"):
        precision.resolve("bfloat16", gpu)


def test_an_unknown_precision() -> None:
    with pytest.raises(ConfigError, match="expected one of auto, float32, bfloat16, got 'float8'"):
        precision.resolve("float8", CPU)


@pytest.mark.parametrize(("name", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_dense_layers_compute_in_it(name: str, dtype: torch.dtype) -> None:
    layer = nn.Linear(3, 2)
    with precision.autocast(name, CPU):
        assert layer(torch.ones(1, 3)).dtype == dtype
    assert layer(torch.ones(1, 3)).dtype == torch.float32
