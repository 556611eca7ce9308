"""Loading named tensors into a module: everything must fit, and the first thing that does not is named."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from shared_models.errors import CheckpointError

logger = logging.getLogger(__name__)

# OpenPCDet counts its training steps in the state dict.
IGNORED = frozenset({"global_step"})


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadReport:
    """What `load_into` did.

    loaded: parameters and buffers taken.
    ignored: known names that no module has use for.
    converted: sparse kernels turned from spconv 1's layout.
    """

    loaded: int
    ignored: tuple[str, ...]
    converted: tuple[str, ...]


def load_into(module: nn.Module, state: Mapping[str, Tensor], source: str) -> LoadReport:
    """Copy `state` into `module`; all names and shapes must fit, else `module` stays as it was.

    Sparse kernels are [out, kD, kH, kW, in]. Files from spconv 1 have [kD, kH, kW, in, out] instead; they are
    recognised by their shapes and turned around, as OpenPCDet does with such files.
    source: what to call the file in messages.

    Raises:
        CheckpointError: names the first missing, extra and misshapen parameter, and how many there are of each.
    """
    own = module.state_dict()
    fitted, converted = fit(module, state, source)
    if converted:
        logger.info("sparse kernels turned from the layout of spconv 1", extra={"kernels": len(converted)})
    with torch.no_grad():
        for name, tensor in fitted.items():
            own[name].copy_(tensor)
    ignored = tuple(name for name in state if name not in own)
    return LoadReport(loaded=len(fitted), ignored=ignored, converted=converted)


def fit(module: nn.Module, state: Mapping[str, Tensor], source: str) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """`state` in the layout of `module`, which may be on the meta device, and the names of the kernels turned around.

    Raises:
        CheckpointError: as in `load_into`.
    """
    own = module.state_dict()
    given = {name: tensor for name, tensor in state.items() if name in own or name not in IGNORED}
    old_layout = _uses_old_layout(own, given)
    fitted = {name: _turned_if(old_layout, own[name], given[name]) for name in own if name in given}
    _refuse_misfits(own, given, fitted, source)
    return fitted, tuple(name for name in fitted if old_layout and own[name].ndim == 5)


def _turned(kernel: Tensor) -> Tensor:
    return kernel.permute(4, 0, 1, 2, 3)


def _uses_old_layout(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> bool:
    """Whether the file's kernels have spconv 1's layout; a shape that fits both ways follows the others."""
    kernels = [(own[name], given[name]) for name in own if name in given and own[name].ndim == given[name].ndim == 5]
    fits_as_is = all(mine.shape == theirs.shape for mine, theirs in kernels)
    return not fits_as_is and all(mine.shape == _turned(theirs).shape for mine, theirs in kernels)


def _turned_if(old_layout: bool, own: Tensor, given: Tensor) -> Tensor:
    return _turned(given) if old_layout and own.ndim == given.ndim == 5 else given


def _refuse_misfits(
    own: Mapping[str, Tensor], given: Mapping[str, Tensor], fitted: Mapping[str, Tensor], source: str
) -> None:
    missing = [name for name in own if name not in given]
    extra = [name for name in given if name not in own]
    misshapen = [name for name, tensor in fitted.items() if tensor.shape != own[name].shape]
    mistyped = [name for name, t in fitted.items() if t.is_floating_point() != own[name].is_floating_point()]
    if not (missing or extra or misshapen or mistyped):
        return
    findings = []
    if missing:
        findings.append(f"first missing parameter {missing[0]!r} {list(own[missing[0]].shape)}")
    if extra:
        findings.append(f"first extra parameter {extra[0]!r} {list(given[extra[0]].shape)}")
    if misshapen:
        name = misshapen[0]
        findings.append(
            f"first misshapen parameter {name!r}: expected {list(own[name].shape)}, got {list(given[name].shape)}"
        )
    if mistyped:
        name = mistyped[0]
        findings.append(
            f"first parameter of another kind {name!r}: expected {own[name].dtype}, got {given[name].dtype}"
        )
    raise CheckpointError(
        f"{source}: does not fit the network: {'; '.join(findings)} (of {len(own)} expected: {len(missing)} missing, "
        f"{len(extra)} extra, {len(misshapen)} misshapen, {len(mistyped)} of another kind)"
    )


def refuse_unusable(state: Mapping[Any, Any], source: str) -> dict[str, Tensor]:
    """`state` as it is, once every entry is known to be a plain tensor of finite numbers under a name.

    Raises:
        CheckpointError: names the first entry that is not.
    """
    checked: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if not isinstance(name, str):
            raise CheckpointError(f"{source}: parameter names must be text, got {type(name).__name__}")
        if not isinstance(tensor, Tensor):
            raise CheckpointError(f"{source}: {name!r} must be a tensor, got {type(tensor).__name__}")
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex() or tensor.is_meta:
            raise CheckpointError(f"{source}: {name!r} must be a plain dense tensor of real numbers")
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise CheckpointError(f"{source}: {name!r} {list(tensor.shape)} claims more numbers than the file holds")
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(f"{source}: {name!r} holds NaN or infinity; the training that wrote it went wrong")
        checked[name] = tensor.detach()
    return checked
