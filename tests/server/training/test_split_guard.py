from __future__ import annotations

import pytest

from server.training.split_guard import refuse_outside
from shared_models.errors import InvalidValueError


def test_the_first_frame_outside_is_named():
    refuse_outside("bank", ("a", "b"), {"a", "b", "c"}, "the labelled split")
    refuse_outside("bank", (), set(), "the labelled split")
    with pytest.raises(InvalidValueError, match="bank: frame d is not in the labelled split \\(3 frames\\)"):
        refuse_outside("bank", ("a", "d", "e"), {"a", "b", "c"}, "the labelled split")
