"""Matrix products of whole numbers packed into floats, against integers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.statistics.exact_counts import count, count_dtype, pack


@given(st.integers(1, 60), st.integers(1, 9), st.integers(1, 300), st.integers(0, 2**32 - 1))
def test_counts_are_exact_however_many_share_a_float(n_rows: int, n_columns: int, largest: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights, values = rng.integers(0, 4, (5, n_rows)), rng.integers(0, largest + 1, (n_rows, n_columns))
    expected = weights @ values
    max_count = int(expected.max())
    out = np.empty(expected.shape, count_dtype(max_count))
    count(weights, pack(values, max_count), out)
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("max_count", [1, 255, 256, 4095, 4096, 2**24 - 1, 2**24, 2**26, 2**40])
def test_the_largest_count_is_exact_at_every_width(max_count: int) -> None:
    values = np.array([[max_count - 1, 0, max_count // 2, max_count - 1], [1, max_count, 0, 1]])
    out = np.empty((2, 4), count_dtype(max_count))
    count(np.array([[1, 1], [1, 0]]), pack(values, max_count), out)
    assert out.tolist() == [
        [max_count, max_count, max_count // 2, max_count],
        [max_count - 1, 0, max_count // 2, max_count - 1],
    ]


def test_counts_beyond_the_exact_floats_raise() -> None:
    with pytest.raises(ValueError, match="not exact"):
        pack(np.ones((1, 1)), 2**53)
