"""Previous-token, duplicate-token and induction heads, built by hand, are found where they are and nowhere else."""

import numpy as np
import pytest
from transformers import GPT2LMHeadModel

from dynamics.mechanisms.sequences import DUPLICATE, PREFIX, PREVIOUS, repeated_tokens, sequence_scores
from tests.hand_built import (
    N_TOKENS,
    attend_after_duplicate,
    attend_to_duplicate,
    attend_to_previous,
    blank,
    write_head,
)
from tests.models import OBSERVED, VARIANTS, perturbed

VOCABULARY = range(1, N_TOKENS)
LENGTH = 20


def scores(model: GPT2LMHeadModel, **settings: int) -> dict[str, np.ndarray]:
    """Measure -> (layer, head) on twenty tokens repeated once, after BOS."""
    found = sequence_scores(model, VOCABULARY, **{"n": 6, "length": LENGTH, **settings})
    return {score.measure: score.values for score in found}


@pytest.fixture(scope="module")
def built() -> GPT2LMHeadModel:
    """Previous-token head L0H1, duplicate-token head L0H3, and L1H2, an induction head through what L0H1 writes."""
    model = blank()
    attend_to_previous(model, 0, 1)
    attend_to_duplicate(model, 0, 3)
    attend_after_duplicate(model, 1, 2)
    return model


@pytest.mark.parametrize(("measure", "place"), [(PREVIOUS, (0, 1)), (DUPLICATE, (0, 3)), (PREFIX, (1, 2))])
def test_each_head_is_found_at_its_place_alone(built: GPT2LMHeadModel, measure: str, place: tuple[int, int]) -> None:
    values = scores(built)[measure].copy()
    assert values[place] == pytest.approx(1, abs=1e-3)
    values[place] = 0
    assert values.max() < 0.2


def test_heads_that_attend_to_all_alike_are_at_chance(built: GPT2LMHeadModel) -> None:
    for found in sequence_scores(built, VOCABULARY, n=6, length=LENGTH):
        np.testing.assert_allclose(found.values[1, [0, 1, 3]], found.chance, rtol=1e-5)
        first = 1 if found.measure == PREVIOUS else LENGTH + 1
        assert found.chance == pytest.approx(np.mean([1 / (t + 1) for t in range(first, 2 * LENGTH + 1)]))


def test_induction_is_gone_without_what_the_previous_token_head_writes() -> None:
    """It is made of two heads: the first one's pattern alone does not do."""
    model = blank()
    attend_to_previous(model, 0, 1)
    attend_after_duplicate(model, 1, 2)
    assert scores(model)[PREFIX][1, 2] > 0.99
    write_head(model, 0, 1, output=0 * model.transformer.h[0].attn.c_proj.weight[:128].T)
    without = scores(model)
    assert without[PREFIX][1, 2] < 0.05
    assert without[PREVIOUS][0, 1] > 0.99


def test_sequences_are_fixed_repeated_once_and_of_distinct_tokens_where_there_are_enough() -> None:
    ids = repeated_tokens(VOCABULARY, 0, n=3, length=LENGTH)
    assert ids.shape == (3, 1 + 2 * LENGTH)
    assert (ids[:, 0] == 0).all()
    np.testing.assert_array_equal(ids[:, 1 : LENGTH + 1], ids[:, LENGTH + 1 :])
    assert all(len(set(row)) == LENGTH for row in ids[:, 1 : LENGTH + 1].tolist())
    assert set(ids[:, 1:].ravel()) <= set(VOCABULARY)
    np.testing.assert_array_equal(ids, repeated_tokens(VOCABULARY, 0, n=3, length=LENGTH))
    assert (ids != repeated_tokens(VOCABULARY, 0, n=3, length=LENGTH, seed=1)).any()
    assert repeated_tokens([7, 8], None, n=2, length=5).shape == (2, 10)


@pytest.mark.parametrize("name", OBSERVED)
def test_batches_do_not_matter(name: str) -> None:
    model = perturbed(VARIANTS[name])
    one_by_one, together = (
        sequence_scores(model, range(2, 60), n=5, length=12, token_budget=budget) for budget in (1, 10_000)
    )
    for alone, batched in zip(one_by_one, together, strict=True):
        np.testing.assert_allclose(alone.values, batched.values, atol=1e-6)
