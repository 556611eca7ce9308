from __future__ import annotations

import pytest
import torch

from server.training.objective import LossTerms, TermSelection
from shared_models.configuration import from_dict, to_dict
from shared_models.errors import InvalidValueError


def test_means_and_totals_by_hand() -> None:
    losses = LossTerms(per_scene={"a": torch.tensor([1.0, 3.0]), "b": torch.tensor([0.0, 10.0])}, counts={})
    assert {name: float(term) for name, term in losses.terms.items()} == {"a": 2.0, "b": 5.0}
    assert float(losses.total) == 7.0
    assert float(losses.total_of(slice(0, 1))) == 1.0
    assert float(losses.total_of([1])) == 13.0


@pytest.mark.parametrize(
    "values",
    [
        {"classification": "exact"},
        {"roi_iou": "some"},
        {"points": ""},
        {"box": "exact_and_background"},
        {"direction": True},
        {"roi_box": "background"},
        {"background_score": 1.5},
    ],
)
def test_unknown_choices_are_refused(values: dict) -> None:
    with pytest.raises(InvalidValueError, match=f"TermSelection.{next(iter(values))}: expected"):
        TermSelection(**values)


def test_is_a_part_of_a_run_file() -> None:
    terms = TermSelection(classification="exact_and_background", roi_iou="none")
    assert from_dict(TermSelection, to_dict(terms)) == terms
