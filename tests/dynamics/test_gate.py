"""The gate's words: in half precision they name the type before the checkpoint, in float32 they cannot."""

import math
from collections.abc import Callable

import pytest

from dynamics.errors import FailedCheck
from dynamics.gate import FORWARD_TOLERANCE, TOLERANCE, check_forward, check_unit


@pytest.mark.parametrize("error", [1.0, math.nan, math.inf])
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("which", ["parts", "forward", "row"])
def test_a_failure_says_what_helps_in_its_type(dtype: str, error: float, which: str) -> None:
    checks: dict[str, Callable[[], None]] = {
        "parts": lambda: check_unit(error, 0, dtype),
        "forward": lambda: check_unit(0, error, dtype),
        "row": lambda: check_forward(error, dtype, "standard"),
    }
    with pytest.raises(FailedCheck) as failure:
        checks[which]()
    text = str(failure.value)
    assert "\n" not in text
    assert dtype in text
    if dtype == "float32":
        assert "set dtype" not in text
        assert text.endswith("is not written; check the family file and the checkpoint")
    else:
        assert f"{dtype} rounds to " in text
        assert "set dtype to float32, and if it fails there too, check the family file" in text
        assert ("overflows beyond 65504" in text) == (dtype == "float16")


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_an_error_at_its_tolerance_passes(dtype: str) -> None:
    check_unit(TOLERANCE[dtype], FORWARD_TOLERANCE[dtype], dtype)
    check_forward(FORWARD_TOLERANCE[dtype], dtype, "standard")
    with pytest.raises(FailedCheck):
        check_unit(TOLERANCE[dtype] * 1.001, 0, dtype)
