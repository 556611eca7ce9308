"""Records of runs check themselves."""

from __future__ import annotations

from typing import Any

import pytest

from server.repositories.run_log import EvaluationRecord, Scalar, hash_run_file
from shared_models.errors import InvalidValueError
from tests.run_records import make_run


def test_hash_of_a_run_file() -> None:
    # printf 'abc' | sha256sum, as in FIPS 180-2, appendix B.1
    assert hash_run_file("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"run_id": ""}, "run_id"),
        ({"run_id": "a/b"}, "run_id"),
        ({"run_id": ".."}, "no dot"),
        ({"name": "line\nbreak"}, "name"),
        ({"state": "lost"}, "running, finished, failed, stopped"),
        ({"step": -1}, "step"),
        ({"seed": 2**63}, "seed"),
        ({"run_file_sha256": "0" * 64}, "run_file_sha256"),
    ],
)
def test_wrong_run(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        make_run(**changed)


@pytest.mark.parametrize("name", ["", "loss//x", "/loss", "a\nb", "x" * 201])
def test_wrong_scalar_name(name: str) -> None:
    with pytest.raises(InvalidValueError, match="name"):
        Scalar(run_id="a", step=0, name=name, value=0.0, at_ns=0)


@pytest.mark.parametrize("report", ["", "{", "[1]", "3"])
def test_wrong_report(report: str) -> None:
    with pytest.raises(InvalidValueError, match="report"):
        EvaluationRecord(run_id="a", step=0, report=report, at_ns=0)
