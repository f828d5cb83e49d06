"""Counts against a loop, with ties of two and three, and what follows from them."""

import numpy as np
import pytest

from analysis.reading.answers import StepAnswers
from analysis.reading.groups import Group
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
    group = Group("toy", "float32", "none", "toy", 4)
    answers = StepAnswers(group, 0, None, ("p/0", "p/1"), names, ids, gold, 4, labels, tied, labels[..., 0], None)
    counts, expected = confusion(answers), np.zeros((2, 4, 4, 4))
    fractions = credit(values.astype(float))
    for p, i, j, y in np.ndindex(fractions.shape):
        expected[p, j, y, gold[i]] += fractions[p, i, j, y]
    np.testing.assert_allclose(counts, expected)
    np.testing.assert_allclose(
        accuracy(counts), np.take_along_axis(fractions, gold[None, :, None, None], 3)[..., 0].mean(1)
    )
    np.testing.assert_allclose(shares(counts), fractions.mean(1))
    np.testing.assert_allclose(recalls(counts)[..., 1], fractions[:, gold == 1][..., 1].mean(1))
    assert np.isnan(recalls(counts)[..., 3]).all()
