"""Blocks of numbers: exact for shares, within half a unit for others, nothing where there is no value."""

import zlib
from base64 import b64decode

import numpy as np
import pytest

from figures.explorer.blocks import Block, encode, share_denominator


def decoded(block: Block, shape: tuple[int, int]) -> np.ndarray:
    """The definition in the module's docstring, backwards."""
    planes = np.frombuffer(zlib.decompress(b64decode(block.text)), np.uint8).reshape(block.n_bytes, *shape)
    folded = sum(planes[i].astype(np.int64) << 8 * i for i in range(block.n_bytes))
    q = np.cumsum(np.where(folded % 2, -(folded + 1) // 2, folded // 2), 0) % 256**block.n_bytes
    return np.where(q == 256**block.n_bytes - 1, np.nan, block.minimum + block.unit * q)


@pytest.mark.parametrize(("n_prompts", "n_examples", "n_labels", "n_bytes"), [(15, 200, 2, 2), (15, 2000, 4, 3)])
def test_shares_are_exact(n_prompts: int, n_examples: int, n_labels: int, n_bytes: int) -> None:
    whole = share_denominator(n_prompts, n_examples, n_labels)
    values = np.random.default_rng(0).integers(0, whole + 1, (9, 40)) / whole
    values[:2, 0], values[3, 5] = (0, 1), np.nan
    block = encode(values, whole)
    assert block is not None
    assert (block.n_bytes, block.minimum) == (n_bytes, 0)
    np.testing.assert_allclose(decoded(block, values.shape), values, rtol=0, atol=1e-15)


def test_other_numbers_are_within_half_a_unit() -> None:
    values = np.random.default_rng(1).normal(size=(9, 40)) * 3
    block = encode(values, 3000)
    assert block is not None
    assert np.abs(decoded(block, values.shape) - values).max() <= block.unit * 0.51
    assert block.unit < np.ptp(values) / 1.6e7


def test_shares_that_are_no_multiples_are_not_made_so() -> None:
    values = np.array([[0.1234567, 0.5], [1 / 3, 1.0]])
    block = encode(values, 3000)
    assert block is not None
    np.testing.assert_allclose(decoded(block, values.shape), values, rtol=0, atol=3e-8)


def test_constant_and_missing_values() -> None:
    assert encode(np.full((2, 3), np.nan)) is None
    block = encode(np.array([[0.25, np.nan], [0.25, 0.25]]))
    assert block is not None
    np.testing.assert_array_equal(decoded(block, (2, 2)), [[0.25, np.nan], [0.25, 0.25]])
