"""Copying scores: heads that copy or anti-copy by construction, and the matrix over the vocabulary, never built."""

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import GPT2LMHeadModel

from dynamics.families import anatomy
from dynamics.forward.last_token import last_token
from dynamics.mechanisms.copying import COPYING, COPYING_RANK, copying_scores
from tests.hand_built import D_HEAD, D_MODEL, N_TOKENS, TOKEN, blank, copy, write_head
from tests.models import VARIANTS, perturbed


def successor() -> Tensor:
    """(d_model, d_head): a head writes the token after the one that it reads."""
    matrix = torch.zeros(D_MODEL, D_HEAD)
    for token in range(N_TOKENS):
        matrix[TOKEN.start + (token + 1) % N_TOKENS, token] = 1
    return matrix


@pytest.fixture(scope="module")
def built() -> GPT2LMHeadModel:
    """L0H1 copies, L1H2 anti-copies, L1H0 writes the next token; the others write nothing."""
    model = blank()
    write_head(model, 0, 1, value=copy(TOKEN), output=copy(TOKEN))
    write_head(model, 1, 2, value=copy(TOKEN), output=copy(TOKEN, gain=-1))
    write_head(model, 1, 0, value=copy(TOKEN), output=successor())
    return model


def test_copying_and_anti_copying_heads_are_at_the_ends_of_both_scores(built: GPT2LMHeadModel) -> None:
    eigenvalues, ranks = copying_scores(built, range(N_TOKENS))
    assert (eigenvalues.measure, ranks.measure) == (COPYING, COPYING_RANK)
    assert eigenvalues.values[0, 1] == pytest.approx(1, abs=1e-3)
    assert eigenvalues.values[1, 2] == pytest.approx(-1, abs=1e-3)
    assert ranks.values[0, 1] == 1
    assert ranks.values[1, 2] == 0


def test_a_head_that_writes_another_token_is_no_copying_head(built: GPT2LMHeadModel) -> None:
    """The eigenvalues of a cycle are the roots of unity, whose sum is 0."""
    eigenvalues, ranks = (score.values[1, 0] for score in copying_scores(built, range(N_TOKENS)))
    assert eigenvalues == pytest.approx(0, abs=0.01)
    assert ranks == pytest.approx(0.5, abs=0.1)


def test_a_head_that_writes_nothing_has_no_copying_score_and_the_rank_of_chance(built: GPT2LMHeadModel) -> None:
    eigenvalues, ranks = copying_scores(built, range(N_TOKENS))
    assert np.isnan(eigenvalues.values[0, 0])
    assert ranks.values[0, 0] == ranks.chance == 0.5


@pytest.mark.parametrize("name", VARIANTS)
def test_eigenvalues_are_those_of_the_matrix_over_the_vocabulary(name: str) -> None:
    """Which is built here, from what heads write when each token is alone in a prompt and they attend to it."""
    model = perturbed(VARIANTS[name])
    parts, vocabulary = anatomy(model), list(range(2, 60))
    eigenvalues, ranks = copying_scores(model, vocabulary, n_tokens=len(vocabulary))
    for layer, block in enumerate(parts.blocks):
        norm, post = block.attention_norm, block.attention_post_norm
        embedding = parts.embedding[vocabulary].double()
        if norm is not None:
            embedding = norm.gain.double() * (embedding - embedding.mean(-1, keepdim=True) * (norm.kind == "layer"))
        output = parts.final_norm.gain.double() * parts.unembedding[vocabulary].double()
        output = output - output.mean(-1, keepdim=True) * (parts.final_norm.kind == "layer")
        for head in range(parts.n_heads):
            w_v = block.w_v[head // (parts.n_heads // len(block.w_v))].double()
            w_o = block.w_o[head].double() * (1 if post is None else post.gain.double())
            written = (embedding @ w_v @ w_o @ output.T).numpy()
            values = np.linalg.eigvals(written)
            assert eigenvalues.values[layer, head] == pytest.approx(values.real.sum() / abs(values).sum(), abs=1e-4)
            below = (written < np.diag(written)[:, None]).sum(1) / (len(vocabulary) - 1)
            assert ranks.values[layer, head] == pytest.approx(below.mean(), abs=1e-3)


@pytest.mark.parametrize("name", [name for name in VARIANTS if name != "olmo-clipped"])
def test_value_matrices_are_those_of_each_head(name: str) -> None:
    """A prompt of one token: a head reads its value alone, of the key head that it shares with its group."""
    model = perturbed(VARIANTS[name])
    parts = anatomy(model)
    block = parts.blocks[0]
    state = last_token(parts, [[3], [9], [20]])
    norm = block.attention_norm
    read = state.embedding if norm is None else norm.module(state.embedding)
    n_groups = parts.n_heads // len(block.w_v)
    own = state.heads[:, 0].view(3, parts.n_heads, -1)
    for head in range(parts.n_heads):
        expected = (read[1:] - read[:-1]) @ block.w_v[head // n_groups]  # a bias of the values is in both
        torch.testing.assert_close(own[1:, head] - own[:-1, head], expected, atol=1e-4, rtol=1e-4)
