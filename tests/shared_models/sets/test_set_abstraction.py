from __future__ import annotations

import pytest
import torch

from shared_models.geometry.neighbours import ball_query
from shared_models.sets import neighbourhoods
from shared_models.sets.set_abstraction import GroupingConfig, SetAbstraction

CONFIG = GroupingConfig(radii_m=(0.5, 1.0), neighbours=(4, 8), widths=((6, 6), (6, 6)))


def make_layer() -> SetAbstraction:
    torch.manual_seed(0)
    return SetAbstraction(2, CONFIG).eval()


def slow_abstraction(layer: SetAbstraction, centres, points, features) -> torch.Tensor:
    rows = []
    for centre in centres:
        parts = []
        for radius, count, shared in zip(CONFIG.radii_m, CONFIG.neighbours, layer.mlps, strict=True):
            near = [j for j in range(len(points)) if ((points[j] - centre) ** 2).sum() < radius**2][:count]
            inputs = [torch.cat((points[j] - centre, features[j])) for j in near] or [torch.zeros(5)]
            parts.append(torch.stack([shared(row.view(1, 5, 1, 1)).flatten() for row in inputs]).amax(0))
        rows.append(torch.cat(parts))
    return torch.stack(rows)


@pytest.mark.parametrize("at_once", [3, 8192])
def test_equals_the_definition(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbourhoods, "ROWS_AT_ONCE", at_once)
    layer = make_layer()
    centres, points, features = torch.rand(10, 3) * 3, torch.rand(40, 3) * 2, torch.randn(40, 2)
    with torch.no_grad():
        expected = slow_abstraction(layer, centres, points, features)
        torch.testing.assert_close(layer([centres], [points], [features])[0], expected)


def test_nothing_around_and_nothing_at_all() -> None:
    layer = make_layer()
    with torch.no_grad():
        (lonely,) = layer([torch.full((2, 3), 50.0)], [torch.rand(5, 3)], [torch.randn(5, 2)])
        (none,) = layer([torch.rand(2, 3)], [torch.zeros(0, 3)], [torch.zeros(0, 2)])
    torch.testing.assert_close(lonely, none)
    assert layer([torch.zeros(0, 3)], [torch.rand(5, 3)], [torch.randn(5, 2)])[0].shape == (0, 12)


def test_scans_do_not_see_each_other_and_train_together() -> None:
    layer = make_layer()
    scans = [(torch.rand(k, 3), torch.rand(n, 3), torch.randn(n, 2)) for k, n in ((4, 20), (0, 5), (3, 0), (6, 30))]
    with torch.no_grad():
        together = layer(*zip(*scans, strict=True))
        for number, scan in enumerate(scans):
            torch.testing.assert_close(together[number], layer(*([part] for part in scan))[0])
    assert [len(scan) for scan in layer.train()(*zip(*scans, strict=True))] == [4, 0, 3, 6]


def plain_training(layer: SetAbstraction, centres, points, features) -> torch.Tensor:
    """As the layers say it: every neighbourhood filled up to its full number, all rows through torch's own layers."""
    parts = []
    for radius, count, shared in zip(CONFIG.radii_m, CONFIG.neighbours, layer.mlps, strict=True):
        rows = []
        for own, near, values in zip(centres, points, features, strict=True):
            indices, is_empty = ball_query(own, near, radius, count)
            if len(near) == 0:
                rows.append(values.new_zeros((len(own), count, values.shape[1] + 3)))
                continue
            grouped = torch.cat((near[indices] - own[:, None], values[indices]), 2)
            rows.append(grouped.masked_fill(is_empty[:, None, None], 0.0))
        parts.append(shared(torch.cat(rows).permute(2, 0, 1)[None]).amax(3)[0].t())
    return torch.cat(parts, 1)


# Centres and points of each scan.
SCANS = {
    "several": ((60, 40), (0, 5), (30, 0), (50, 30)),
    "one point": ((4, 1),),
    "no point": ((4, 0), (3, 0)),
    "crowded": ((20, 300),),
}


def make_scans(sizes) -> tuple[list[torch.Tensor], list[torch.Tensor], list[torch.Tensor]]:
    generator = torch.Generator().manual_seed(2)
    points = [torch.rand((n, 3), generator=generator) * 2 for _, n in sizes]
    for scan in points:
        scan[1::7] = scan[0::7][: len(scan[1::7])]  # points in the same place
    centres = [torch.rand((k, 3), generator=generator) * 3 for k, _ in sizes]
    return centres, points, [torch.randn((n, 2), generator=generator) for _, n in sizes]


def make_training_layer(dtype: torch.dtype) -> SetAbstraction:
    layer = make_layer().train().to(dtype)
    with torch.no_grad():
        for parameter in layer.parameters():
            if parameter.dim() == 1:
                parameter.copy_(torch.randn_like(parameter))  # some norms turn the order round
    return layer


def train_once(layer: SetAbstraction, scans, forward) -> dict[str, torch.Tensor]:
    """Outputs, gradients of everything, and the statistics afterwards."""
    inputs = [[part.to(layer.mlps[0][0].weight.dtype).requires_grad_() for part in kind] for kind in scans]
    out = forward(*inputs)
    factors = torch.randn(out.shape, generator=torch.Generator().manual_seed(3)).to(out)
    (out * factors).sum().backward()
    found = {"out": out.detach()} | dict(layer.named_buffers())
    found |= {name: parameter.grad for name, parameter in layer.named_parameters()}
    for kind, parts in zip(("centres", "points", "features"), inputs, strict=True):
        found |= {f"{kind} {i}": part.grad for i, part in enumerate(parts) if part.numel() and part.grad is not None}
    return found


@pytest.mark.parametrize("at_once", [8, 8192])
@pytest.mark.parametrize("name", SCANS)
def test_training_is_that_of_the_filled_neighbourhoods(
    name: str, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """float64: values, gradients of positions, features and parameters, and running statistics."""
    monkeypatch.setattr(neighbourhoods, "ROWS_AT_ONCE", at_once)
    scans = make_scans(SCANS[name])
    quick_layer, plain_layer = make_training_layer(torch.float64), make_training_layer(torch.float64)
    quick = train_once(quick_layer, scans, lambda *inputs: torch.cat(quick_layer(*inputs)))
    plain = train_once(plain_layer, scans, lambda *inputs: plain_training(plain_layer, *inputs))
    expected = {key: value for key, value in plain.items() if value is not None}
    for key, value in expected.items():
        # A scan without points has no gradient in the plain form; where a channel is constant all are of rounding.
        torch.testing.assert_close(quick[key], value, rtol=1e-7, atol=1e-9, msg=lambda text, key=key: f"{key}: {text}")


def test_evaluation_after_training_is_that_of_the_filled_neighbourhoods() -> None:
    scans = make_scans(SCANS["several"])
    layer = make_training_layer(torch.float32)
    layer(*scans)
    layer.eval()
    with torch.no_grad():
        torch.testing.assert_close(torch.cat(layer(*scans)), plain_training(layer, *scans))


def test_autocast_shortens_only_full_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, scans = make_training_layer(torch.float32), make_scans(SCANS["crowded"])
    exact = torch.cat(layer(*scans)).detach()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(torch.cat(layer(*scans)), exact)
        monkeypatch.setattr(neighbourhoods, "ROWS_AT_ONCE", 8)
        short = train_once(layer, scans, lambda *inputs: torch.cat(layer(*inputs)))
    assert short["out"].dtype == torch.float32
    assert 1e-5 < (short["out"] - exact).abs().max() < 0.1
    assert all(torch.isfinite(value).all() for value in short.values())


def test_a_frozen_norm_keeps_its_statistics_in_training() -> None:
    layer = make_training_layer(torch.float32)
    for shared in layer.mlps:
        shared[1].eval()
        shared[4].eval()
    before = {name: buffer.clone() for name, buffer in layer.named_buffers()}
    scans = make_scans(SCANS["several"])
    torch.testing.assert_close(torch.cat(layer(*scans)), plain_training(layer, *scans))
    assert all(torch.equal(buffer, before[name]) for name, buffer in layer.named_buffers())


def test_nobody_to_learn_from_changes_no_statistics() -> None:
    layer = make_training_layer(torch.float32)
    before = {name: buffer.clone() for name, buffer in layer.named_buffers()}
    (out,) = layer([torch.zeros(0, 3)], [torch.rand(5, 3)], [torch.randn(5, 2)])
    assert out.shape == (0, 12)
    assert all(torch.equal(buffer, before[name]) for name, buffer in layer.named_buffers())


def test_the_same_bits_for_any_number_of_threads() -> None:
    layer, scans = make_layer(), make_scans(SCANS["several"])
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 4):
            torch.set_num_threads(threads)
            with torch.no_grad():
                found.append(torch.cat(layer(*scans)))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])
