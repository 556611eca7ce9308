from __future__ import annotations

import pytest
import torch

from shared_models.sets import set_abstraction
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
    monkeypatch.setattr(set_abstraction, "CENTRES_AT_ONCE", at_once)
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
