"""Several counts in one float, against integers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.statistics.counting import count, holds, pack


@given(st.integers(1, 60), st.integers(1, 9), st.integers(1, 300), st.integers(0, 2**32 - 1))
def test_counts_are_exact_however_many_share_a_float(n_rows: int, n_columns: int, largest: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights, values = rng.integers(0, 4, (5, n_rows)), rng.integers(0, largest + 1, (n_rows, n_columns))
    expected = weights @ values
    most = int(expected.max())
    out = np.empty(expected.shape, holds(most))
    count(weights, pack(values, most), out)
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("most", [1, 255, 256, 4095, 4096, 2**24 - 1, 2**24, 2**26, 2**40])
def test_the_largest_count_is_exact_at_every_width(most: int) -> None:
    values = np.array([[most - 1, 0, most // 2, most - 1], [1, most, 0, 1]])
    out = np.empty((2, 4), holds(most))
    count(np.array([[1, 1], [1, 0]]), pack(values, most), out)
    assert out.tolist() == [[most, most, most // 2, most], [most - 1, 0, most // 2, most - 1]]


def test_counts_that_no_float_holds_are_refused() -> None:
    with pytest.raises(ValueError, match="not exact"):
        pack(np.ones((1, 1)), 2**53)
