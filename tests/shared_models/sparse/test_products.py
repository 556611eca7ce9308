"""The matrix product of the rulebook engine."""

from __future__ import annotations

import pytest
import torch

from shared_models.sparse import products
from shared_models.sparse.products import NARROWEST, rows_times_kernel


@pytest.mark.parametrize("rows", [1, 7, 500])
@pytest.mark.parametrize(("inputs", "outputs"), [(4, 16), (16, 32), (32, 32), (64, 128), (128, 64)])
def test_product_agrees_with_float64(rows: int, inputs: int, outputs: int) -> None:
    generator = torch.Generator().manual_seed(rows + inputs)
    left = torch.randn(rows, inputs, generator=generator)
    kernel = torch.randn(outputs, inputs, generator=generator)
    expected = left.double() @ kernel.double().t()
    assert torch.allclose(rows_times_kernel(left, kernel).double(), expected, rtol=0, atol=1e-4)


def test_float64_stays_float64() -> None:
    left, kernel = torch.randn(5, 64, dtype=torch.float64), torch.randn(64, 64, dtype=torch.float64)
    product = rows_times_kernel(left, kernel)
    assert product.dtype == torch.float64
    assert torch.allclose(product, left @ kernel.t(), rtol=0, atol=1e-12)


def test_without_onednn_the_product_is_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    left, kernel = torch.randn(9, NARROWEST), torch.randn(NARROWEST, NARROWEST)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert products._onednn_product() is None
    assert torch.equal(rows_times_kernel(left, kernel), torch.mm(left, kernel.t()))


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this build of torch has no oneDNN")
def test_the_pinned_torch_has_the_quick_product() -> None:
    assert products._onednn_product() is not None, "torch moved its oneDNN linear layer: the slower product is in use"
