"""Attention on random tokens that are repeated once: previous-token, duplicate-token and induction heads.

The input is [BOS, r_1 .. r_n, r_1 .. r_n] with r drawn uniformly from the vocabulary, BOS where the config has one.
With A the attention weights of a head and t a query position,

    previous_token   mean over t >= 1            of A[t, t - 1]
    duplicate_token  mean over the second half   of A[t, t - n]      the same token before
    prefix_matching  mean over the second half   of A[t, t - n + 1]  the token after the same token before: induction

(Olsson et al., arXiv 2209.11895: a head with a high prefix-matching score is an induction head if it also copies.) A
mean over the queries that have such a position is 1 for a perfect head. `chance` is what a head that attends to all
earlier positions alike has, the mean of 1 / (t + 1) over the same queries.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from dynamics.families import anatomy as find_anatomy
from dynamics.forward.attention import LayerAttention, observed
from dynamics.forward.batching import budget_for
from dynamics.forward.last_token import hidden_states
from dynamics.mechanisms.head_scores import HeadScores
from dynamics.mechanisms.measures import DUPLICATE, PREFIX, PREVIOUS

N_SEQUENCES, LENGTH, SEED = 50, 50, 0
"""Sequences, and random tokens in each before they are repeated."""


def repeated_tokens(
    vocabulary: Sequence[int], bos: int | None, *, n: int = N_SEQUENCES, length: int = LENGTH, seed: int = SEED
) -> np.ndarray:
    """Token ids (sequence, position) of random tokens repeated once; within a sequence they differ where they can.

    Args:
        vocabulary: ids to draw from.
        bos: id before them; None for none.
        n, length: sequences, and random tokens in each.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    drawn = np.stack([rng.choice(np.asarray(vocabulary), length, replace=len(vocabulary) < length) for _ in range(n)])
    halves = [drawn, drawn]
    return np.concatenate(halves if bos is None else [np.full((n, 1), bos), *halves], 1)


def sequence_scores(
    model: PreTrainedModel,
    vocabulary: Sequence[int],
    *,
    n: int = N_SEQUENCES,
    length: int = LENGTH,
    token_budget: int | None = None,
) -> list[HeadScores]:
    """Scores of every head on repeated random tokens.

    Args:
        model: a causal language model in eval mode, of a supported family.
        vocabulary: ids of the tokens to draw from.
        n, length: sequences, and random tokens in each before they are repeated.
        token_budget: tokens per batch, None to fit free memory.
    """
    bos = model.config.bos_token_id
    ids = repeated_tokens(vocabulary, bos if isinstance(bos, int) else None, n=n, length=length)
    n_before = ids.shape[1] - 2 * length
    second = torch.arange(n_before + length, n_before + 2 * length)
    pairs = {
        PREVIOUS: (torch.arange(1, ids.shape[1]), torch.arange(ids.shape[1] - 1)),
        DUPLICATE: (second, second - length),
        PREFIX: (second, second - length + 1),
    }
    parts = find_anatomy(model)
    sums = {name: torch.zeros(parts.n_layers, parts.n_heads, dtype=torch.float64) for name in pairs}

    def observe(attention: LayerAttention) -> None:
        weights = attention.weights()
        for name, (queries, keys) in pairs.items():
            sums[name][attention.layer] += _along(weights, queries, keys).sum(0).double().cpu()

    n_batch = max(1, budget_for(model, token_budget) // ids.shape[1])
    with observed(model, observe):
        for first in range(0, n, n_batch):
            hidden_states(parts, ids[first : first + n_batch].tolist())
    return [
        HeadScores(name, (total / n).numpy(), None, n, float((1.0 / (pairs[name][0] + 1)).mean()))
        for name, total in sums.items()
    ]


def _along(weights: Tensor, queries: Tensor, keys: Tensor) -> Tensor:
    """Mean over pairs of a query and a key position: (example, head, query, key) -> (example, head)."""
    return weights[:, :, queries.to(weights.device), keys.to(weights.device)].mean(-1)
