"""Exact whole-number matrix products: float32 holds every integer up to 2^24.

Most counts need far fewer bits, so several columns travel through one product as digits of one number:
`sum_k w_k (a_k + 2^b c_k) = (sum_k w_k a_k) + 2^b (sum_k w_k c_k)`, unpacked while no digit overflows.
"""

from dataclasses import dataclass

import numpy as np

_EXACT_BITS = {np.float32: 24, np.float64: 53}


@dataclass(frozen=True)
class Digits:
    """Columns of whole numbers, several packed into one.

    Attributes:
        packed: (row, n_columns / digits) floats.
        bits: of one digit.
        n_columns: before packing.
    """

    packed: np.ndarray
    bits: int
    n_columns: int


def pack(values: np.ndarray, max_count: int) -> Digits:
    """Columns (row, column) of whole numbers from 0, ready for `count`.

    Args:
        max_count: no entry of the product may exceed it.

    Raises:
        ValueError: `max_count` is beyond 2^53, the largest whole number up to which float64 is exact.
    """
    bits = max(1, int(max_count).bit_length())
    dtype = next((kind for kind, exact in _EXACT_BITS.items() if bits <= exact), None)
    if dtype is None:
        raise ValueError(f"counts up to {max_count} are not exact in float64")
    n_digits = _EXACT_BITS[dtype] // bits
    n_columns = values.shape[1]
    width = -(-n_columns // n_digits)
    packed = np.zeros((len(values), width), dtype)
    for digit, first in enumerate(range(0, n_columns, width)):
        columns = values[:, first : first + width]
        packed[:, : columns.shape[1]] += columns.astype(dtype) * dtype(2.0 ** (bits * digit))
    return Digits(packed, bits, n_columns)


def count(weights: np.ndarray, values: Digits, out: np.ndarray) -> None:
    """`weights @ values` into `out` (replicate, column), an integer type that holds it.

    Args:
        weights: (replicate, row) whole numbers from 0.
    """
    floats = weights.astype(values.packed.dtype, copy=False) @ values.packed
    product = floats.astype(f"i{floats.itemsize}")
    width, mask = product.shape[1], (1 << values.bits) - 1
    for digit, first in enumerate(range(0, values.n_columns, width)):
        columns = out[:, first : first + width]
        columns[...] = (product[:, : columns.shape[1]] >> (values.bits * digit)) & mask


def count_dtype(max_count: int) -> np.dtype:
    """The smallest integer type for counts up to `max_count`; at least 16 bits, below which nothing is gained."""
    return np.promote_types(np.uint16, np.min_scalar_type(int(max_count)))
