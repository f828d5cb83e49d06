"""GPT-2 models whose weights are written by hand, so that it is known what each head attends to and writes.

The residual stream has blocks of coordinates: one for each token, one for each position, and one for each token that a
head writes there as the previous one. Tokens and positions are embedded as unit vectors of these, all other weights are
zero until a test writes them: heads attend to all positions alike and write nothing, and MLPs write nothing.
"""

import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel

N_TOKENS, N_POSITIONS, D_MODEL, N_HEADS, D_HEAD = 48, 64, 512, 4, 128
TOKEN, POSITION, PREVIOUS = slice(0, 48), slice(48, 112), slice(112, 160)
SHARP = 2.0
"""Gain of queries at which a matching key has a score of about 40 more than another: attention is 0 or 1."""


def blank(n_layers: int = 2) -> GPT2LMHeadModel:
    """Unit vectors for tokens and positions, LayerNorms of gain 1, no MLPs; the unembedding is the embedding."""
    config = GPT2Config(
        vocab_size=N_TOKENS,
        n_positions=N_POSITIONS,
        n_embd=D_MODEL,
        n_layer=n_layers,
        n_head=N_HEADS,
        n_inner=4,
        bos_token_id=0,
        eos_token_id=0,
    )
    model = GPT2LMHeadModel(config).eval().requires_grad_(False)
    for name, parameter in model.named_parameters():
        parameter.fill_(float("ln_" in name and name.endswith("weight")))
    model.transformer.wte.weight[:, TOKEN] = torch.eye(N_TOKENS)
    model.transformer.wpe.weight[:, POSITION] = torch.eye(N_POSITIONS)
    return model


def write_head(
    model: GPT2LMHeadModel,
    layer: int,
    head: int,
    *,
    query: Tensor | None = None,
    key: Tensor | None = None,
    value: Tensor | None = None,
    output: Tensor | None = None,
) -> None:
    """Write a head's matrices, each (d_model, d_head), the output's transposed; those not given stay as they are."""
    attention = model.transformer.h[layer].attn
    own = slice(head * D_HEAD, (head + 1) * D_HEAD)
    for part, matrix in zip(attention.c_attn.weight.split(D_MODEL, 1), (query, key, value), strict=True):
        if matrix is not None:
            part[:, own] = matrix
    if output is not None:
        attention.c_proj.weight[own] = output.T


def copy(block: slice, to: int = 0, *, gain: float = 1.0) -> Tensor:
    """(d_model, d_head) that takes a block of the residual stream to a head's coordinates from `to` on, or back.

    Coordinates that would lie outside of the head are left out.
    """
    matrix = torch.zeros(D_MODEL, D_HEAD)
    for i in range(block.stop - block.start):
        if to + i < D_HEAD:
            matrix[block.start + i, to + i] = gain
    return matrix


def towards(tokens: dict[int, float], to: int = 0) -> Tensor:
    """(d_model, d_head) that takes the coordinates of some tokens to one coordinate of a head, or back."""
    matrix = torch.zeros(D_MODEL, D_HEAD)
    for token, gain in tokens.items():
        matrix[TOKEN.start + token, to] = gain
    return matrix


def attend_to_previous(model: GPT2LMHeadModel, layer: int, head: int) -> None:
    """A head that attends to the previous position and writes its token to the block `PREVIOUS`."""
    query, key = copy(POSITION, gain=SHARP), copy(POSITION, to=1)
    write_head(model, layer, head, query=query, key=key, value=copy(TOKEN), output=copy(PREVIOUS, gain=1 / 16))


def attend_to_duplicate(model: GPT2LMHeadModel, layer: int, head: int) -> None:
    """A head that attends to the same token before: an equal token raises a score, the own position lowers it."""
    query = copy(TOKEN, gain=SHARP) + copy(POSITION, to=48, gain=SHARP)
    write_head(model, layer, head, query=query, key=copy(TOKEN) - copy(POSITION, to=48))


def attend_after_duplicate(model: GPT2LMHeadModel, layer: int, head: int) -> None:
    """An induction head: it attends to where the previous token, as an earlier head wrote it, is the own one."""
    write_head(model, layer, head, query=copy(TOKEN, gain=SHARP), key=copy(PREVIOUS))
