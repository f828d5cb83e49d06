"""What a head's output-value circuit writes towards the token that it attends to, from the weights alone.

With the norms' gains folded in and their scales left out, a head that attends to token s only adds to the logit of t

    W[s, t] = e_s W_V W_O u~_t

with e_s the embedding less its mean times the attention norm's gain, and u~_t as in `dynamics.decomposition`. `copying`
is `sum Re(l) / sum |l|` over the eigenvalues of this (n_vocab, n_vocab) matrix, between -1 and 1: positive for heads
that raise the logits of the tokens they attend to, negative for those that lower them (Elhage et al. 2021, A
Mathematical Framework for Transformer Circuits). Its non-zero eigenvalues are those of the (d_head, d_head) matrix
`W_O (U^T E) W_V`, so it is never built. `copying_rank` is the share of the vocabulary whose logit is below that of the
token itself, a mean over drawn tokens: 1/2 where the head has nothing to do with it.

Both leave out what earlier layers add to the embedding, and positions.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from dynamics.families import anatomy as find_anatomy
from dynamics.families.anatomy import Anatomy, Block
from dynamics.mechanisms.head_scores import HeadScores
from dynamics.mechanisms.measures import COPYING, COPYING_RANK

N_TOKENS, SEED = 64, 0
"""Tokens drawn for the rank."""


def copying_scores(model: PreTrainedModel, vocabulary: Sequence[int], *, n_tokens: int = N_TOKENS) -> list[HeadScores]:
    """Copying scores of every head.

    Args:
        model: a causal language model of a supported family.
        vocabulary: ids of the tokens that the tokenizer makes; others have no trained embedding.
        n_tokens: tokens drawn for `copying_rank`; fewer where the vocabulary is smaller.
    """
    parts = find_anatomy(model)
    ids = torch.as_tensor(np.asarray(vocabulary), device=parts.device)
    with torch.inference_mode():
        return _scores(parts, ids, min(n_tokens, len(vocabulary)))


def _scores(parts: Anatomy, ids: Tensor, n_tokens: int) -> list[HeadScores]:
    embedding = parts.embedding[ids].float()
    unembedding = parts.final_norm.centre(parts.unembedding[ids].float() * parts.final_norm.gain.float())
    drawn = torch.as_tensor(np.random.default_rng(SEED).choice(len(ids), n_tokens, replace=False), device=ids.device)
    eigenvalue_scores, ranks = np.zeros((2, parts.n_layers, parts.n_heads))
    for layer, block in enumerate(parts.blocks):
        read = _read(block, embedding)
        between = unembedding.T @ read
        post = block.attention_post_norm
        w_o = block.w_o.float() if post is None else block.w_o.float() * post.gain.float()
        w_v = block.w_v.float().repeat_interleave(parts.n_heads // len(block.w_v), 0)
        values = torch.linalg.eigvals((w_o @ between @ w_v).cpu().double())
        eigenvalue_scores[layer] = (values.real.sum(-1) / values.abs().sum(-1)).numpy()
        for head in range(parts.n_heads):
            logits = read[drawn] @ w_v[head] @ w_o[head] @ unembedding.T
            own = logits.gather(1, drawn[:, None])
            below = (logits < own).sum(1) + 0.5 * ((logits == own).sum(1) - 1)
            ranks[layer, head] = float(below.double().mean() / (len(ids) - 1))
    return [
        HeadScores(COPYING, eigenvalue_scores, None, len(ids), 0.0),
        HeadScores(COPYING_RANK, ranks, None, n_tokens, 0.5),
    ]


def _read(block: Block, embedding: Tensor) -> Tensor:
    """Embeddings as the block's attention reads them, but for the norm's scale and bias."""
    norm = block.attention_norm
    return embedding if norm is None else norm.centre(embedding) * norm.gain.float()
