from __future__ import annotations

import torch

from shared_models.sparse import ConvolutionSpec, create_engine
from shared_models.sparse.rulebook_engine import RulebookPlan
from tests.shared_models.sparse.reference import random_sites


def test_cpu_tensors_always_go_to_the_rulebook() -> None:
    engine, spec = create_engine("auto"), ConvolutionSpec(is_submanifold=True)
    sites = random_sites(0, (3, 4, 4), [10])
    plan = engine.plan(sites, spec)
    assert isinstance(plan, RulebookPlan)
    features, weight = torch.randn(10, 2), torch.randn(3, 3, 3, 3, 2)
    rulebook = create_engine("rulebook")
    expected = rulebook.convolve(features, weight, rulebook.plan(sites, spec))
    assert torch.equal(engine.convolve(features, weight, plan), expected)
