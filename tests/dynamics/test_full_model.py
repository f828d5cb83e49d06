"""The full model alone answers as it does inside a decomposition, and as Hugging Face does one by one."""

import numpy as np
import pytest
import torch

from dynamics.decomposition import decompose, relative_error
from dynamics.full_model import full_logits
from tests.dynamics.test_decomposition import one_by_one, ragged_prompts
from tests.models import VARIANTS, perturbed


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize(("shared", "token_budget"), [(0, 1), (0, 40), (7, 40), (7, 10_000)])
def test_ragged_batches_equal_one_by_one(name: str, shared: int, token_budget: int) -> None:
    model, prompts = perturbed(VARIANTS[name]), ragged_prompts(shared=shared)
    answers = full_logits(model, prompts, token_budget=token_budget)
    own = one_by_one(model, prompts)
    assert np.ptp(own, axis=0).min() > 0.1
    assert relative_error(answers.logits, own) < 1e-5
    assert answers.forward_error < 1e-5


@pytest.mark.parametrize("name", VARIANTS)
def test_it_is_the_full_of_the_decomposition(name: str) -> None:
    model, prompts = perturbed(VARIANTS[name]), ragged_prompts()
    np.testing.assert_allclose(full_logits(model, prompts).logits, decompose(model, prompts).full, atol=1e-5)


def test_an_unembedding_bias_counts() -> None:
    """GPT-NeoX of transformers has none; a head with one is read all the same."""
    model, prompts = perturbed(VARIANTS["gpt_neox-parallel"]), ragged_prompts()
    before = full_logits(model, prompts).logits
    head = model.get_output_embeddings()
    bias = np.arange(head.out_features, dtype=np.float32)
    head.bias = torch.nn.Parameter(torch.tensor(bias), requires_grad=False)
    after = full_logits(model, prompts)
    np.testing.assert_allclose(after.logits, before + bias[list(prompts.label_ids)], atol=1e-5)
    assert after.forward_error < 1e-5
