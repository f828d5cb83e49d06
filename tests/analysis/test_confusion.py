"""Counts against a loop, with ties of two and three, and what follows from them."""

import numpy as np
import pytest

from analysis.reading.answers import StepAnswers
from analysis.statistics.confusion import accuracy, confusion, recalls, shares
from dynamics.scores import credit, encode


@pytest.mark.parametrize("ties", [False, True])
def test_counts_equal_a_loop(*, ties: bool) -> None:
    rng = np.random.default_rng(0)
    gold = rng.integers(0, 3, 30)  # no row has label 3
    values = rng.integers(0, 3, (2, 30, 4, 4)) if ties else rng.random((2, 30, 4, 4))
    labels, tied = encode(values.astype(float))
    names, ids = tuple("abcd"), tuple(f"{i:05d}" for i in range(30))
    tied = tied if ties else None
    at = StepAnswers(("toy",), 0, None, ("p/0", "p/1"), names, ids, gold, 4, labels, tied, labels[..., 0], None)
    found, expected = confusion(at), np.zeros((2, 4, 4, 4))
    earned = credit(values.astype(float))
    for p, i, j, y in np.ndindex(earned.shape):
        expected[p, j, y, gold[i]] += earned[p, i, j, y]
    np.testing.assert_allclose(found, expected)
    np.testing.assert_allclose(
        accuracy(found), np.take_along_axis(earned, gold[None, :, None, None], 3)[..., 0].mean(1)
    )
    np.testing.assert_allclose(shares(found), earned.mean(1))
    np.testing.assert_allclose(recalls(found)[..., 1], earned[:, gold == 1][..., 1].mean(1))
    assert np.isnan(recalls(found)[..., 3]).all()
