"""Mixed precision where the device computes faster with it."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch

from shared_models.errors import ConfigError, DeviceError

PRECISIONS = ("auto", "float32", "bfloat16")


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether matrix products in bfloat16 have units of their own there."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    found = torch.cpu.get_capabilities() if device.type == "cpu" else {}
    return bool(found.get("avx512_bf16") or found.get("amx_bf16"))


def resolve(precision: str, device: torch.device) -> str:
    """ "float32" or "bfloat16" from a configured precision.

    Raises:
        ConfigError: no such precision.
        DeviceError: bfloat16 was asked for and a CUDA device lacks it.
    """
    if precision not in PRECISIONS:
        raise ConfigError(f"LoopConfig.precision: expected one of {', '.join(PRECISIONS)}, got {precision!r}")
    if precision == "auto":
        return "bfloat16" if has_fast_bfloat16(device) else "float32"
    if precision == "bfloat16" and device.type == "cuda" and not has_fast_bfloat16(device):
        raise DeviceError(f"{device} has no bfloat16 units: set loop.precision to auto or float32")
    return precision


def autocast(precision: str, device: torch.device) -> AbstractContextManager[None]:
    """Dense layers in `precision`; sparse sums and losses stay in float32 by themselves."""
    is_mixed = precision == "bfloat16"
    return torch.autocast(device.type, dtype=torch.bfloat16 if is_mixed else None, enabled=is_mixed)
