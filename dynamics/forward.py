"""Forward passes that keep only what the decomposition reads: the last prompt token of every part.

The demonstrations of a prompt set are the same for all its examples, so their keys and values are computed once and
each example pays for its own tokens only. Batches are padded on the right: under a causal mask no real token sees a
pad, and positions count from the prompt's start, so a ragged batch equals one-by-one passes.
"""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import DynamicCache

from dynamics.families.anatomy import Anatomy


@dataclass(frozen=True)
class LastToken:
    """The residual stream's parts at each example's last token, in the model's dtype.

    Attributes:
        embedding: (example, d_model), the first block's input.
        heads: (example, layer, n_heads * d_head), each attention output projection's input.
        projected: (example, layer, d_model), the projections' outputs; None unless a block norms them.
        mlps: (example, layer, d_model), each MLP's output as it is added.
        residual: (example, d_model), the final norm's input: the sum of all parts.
        normed: (example, d_model), the final norm's output.
    """

    embedding: Tensor
    heads: Tensor
    projected: Tensor | None
    mlps: Tensor
    residual: Tensor
    normed: Tensor


def last_token(
    anatomy: Anatomy, token_ids: Sequence[Sequence[int]], prefix: DynamicCache | None = None, *, pad_id: int = 0
) -> LastToken:
    """One forward pass over a batch of prompts (or, after `prefix`, of their last parts).

    Args:
        anatomy: where the model keeps its parts.
        token_ids: one non-empty list of ids per example, of any lengths.
        prefix: keys and values of the tokens that all examples share, from `shared_prefix`; left as it was.
        pad_id: any valid id; pads are never seen by a real token.
    """
    lengths = torch.tensor([len(ids) for ids in token_ids], device=anatomy.device)
    with _capture(anatomy, lengths - 1) as kept:
        hidden_states(anatomy, token_ids, prefix, pad_id=pad_id)
    blocks = range(anatomy.n_layers)
    normed_attention = any(block.attention_post_norm for block in anatomy.blocks)
    return LastToken(
        embedding=kept["embedding"],
        heads=torch.stack([kept[f"heads {i}"] for i in blocks], 1),
        projected=torch.stack([kept[f"projected {i}"] for i in blocks], 1) if normed_attention else None,
        mlps=torch.stack([kept[f"mlp {i}"] for i in blocks], 1),
        residual=kept["residual"],
        normed=kept["normed"],
    )


def hidden_states(
    anatomy: Anatomy, token_ids: Sequence[Sequence[int]], prefix: DynamicCache | None = None, *, pad_id: int = 0
) -> Tensor:
    """The final norm's output at every token of a batch: (example, position, d_model), pads included.

    Arguments as for `last_token`.
    """
    width = max(map(len, token_ids))
    padded = torch.tensor([[*ids, *[pad_id] * (width - len(ids))] for ids in token_ids], device=anatomy.device)
    cache = None
    if prefix is not None:
        cache = copy.deepcopy(prefix)
        cache.batch_repeat_interleave(len(token_ids))
    with torch.inference_mode():
        output = anatomy.backbone(input_ids=padded, past_key_values=cache, use_cache=cache is not None)
    return output.last_hidden_state


def shared_prefix(anatomy: Anatomy, token_ids: Sequence[int]) -> DynamicCache | None:
    """Keys and values of the tokens that all examples of a prompt set begin with; None when there are none."""
    if not token_ids:
        return None
    with torch.inference_mode():
        output = anatomy.backbone(input_ids=torch.tensor([token_ids], device=anatomy.device), use_cache=True)
    return output.past_key_values


def batches(lengths: Sequence[int], shared: int, token_budget: int) -> list[list[int]]:
    """Example positions grouped by length, longest first, so that a batch's padded tokens fit the budget.

    Args:
        lengths: own tokens of each example.
        shared: tokens of the shared prefix, whose keys and values each example of a batch holds too.
        token_budget: padded tokens a batch may hold, the shared ones included; a single example always passes.
    """
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    groups: list[list[int]] = []
    for i in order:
        if groups and (shared + lengths[groups[-1][0]]) * (len(groups[-1]) + 1) <= token_budget:
            groups[-1].append(i)
        else:
            groups.append([i])
    return groups


@contextmanager
def _capture(anatomy: Anatomy, last: Tensor) -> Iterator[dict[str, Tensor]]:
    """Hooks that keep the rows at `last` (example,) of every part; removed on leaving, even by an error."""
    kept: dict[str, Tensor] = {}
    rows = torch.arange(len(last), device=last.device)

    def keep(name: str, hidden: Tensor) -> None:
        kept[name] = hidden[rows, last]

    def on_input(module: nn.Module, name: str) -> RemovableHandle:
        def hook(_: nn.Module, inputs: tuple[Any, ...]) -> None:
            keep(name, inputs[0])

        return module.register_forward_pre_hook(hook)

    def on_output(module: nn.Module, name: str) -> RemovableHandle:
        def hook(_: nn.Module, __: Any, output: Any) -> None:
            keep(name, output)

        return module.register_forward_hook(hook)

    handles = []
    try:
        handles.append(on_input(anatomy.first_block, "embedding"))
        for i, block in enumerate(anatomy.blocks):
            handles.append(on_input(block.attention_output, f"heads {i}"))
            handles.append(on_output(block.mlp, f"mlp {i}"))
            if block.attention_post_norm is not None:
                handles.append(on_output(block.attention_output, f"projected {i}"))
        handles.append(on_input(anatomy.final_norm.module, "residual"))
        handles.append(on_output(anatomy.final_norm.module, "normed"))
        yield kept
    finally:
        for handle in handles:
            handle.remove()
