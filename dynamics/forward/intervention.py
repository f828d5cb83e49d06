"""Interventions at the last token: some heads and MLPs write given vectors there, and later layers are computed anew.

Only the last token's residual stream changes, since no other position attends to it. So the shared prefix and the keys
of earlier positions stay as they are, and a pass costs what any pass over the prompts costs.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dynamics.components import Component
from dynamics.families.anatomy import Anatomy


@dataclass(frozen=True)
class Written:
    """What heads and MLPs write at the last token, as in `dynamics.forward.last_token.LastToken`, of one example.

    Attributes:
        heads: (layer, n_heads * d_head), inputs of the attention output projections.
        mlps: (layer, d_model), outputs of the MLPs.
    """

    heads: Tensor
    mlps: Tensor


@contextmanager
def replaced(
    anatomy: Anatomy, components: Sequence[Component], by: Written, token_ids: Sequence[Sequence[int]]
) -> Iterator[None]:
    """In passes over a batch inside, these components write the given vectors at each example's last token.

    Args:
        anatomy: the model's parts.
        components: heads and MLPs.
        by: what they write in place of their own.
        token_ids: the batch, as it is passed to `last_token` or `last_state`.
    """
    last = torch.tensor([len(ids) - 1 for ids in token_ids], device=anatomy.device)
    rows = torch.arange(len(last), device=anatomy.device)
    handles = []
    try:
        for layer, block in enumerate(anatomy.blocks):
            heads = [c.head for c in components if c.kind == "head" and c.layer == layer]
            if heads:
                own = by.heads[layer].view(anatomy.n_heads, -1)[heads]
                handles.append(block.attention_output.register_forward_pre_hook(_on_input(heads, own, rows, last)))
            if any(c.kind == "mlp" and c.layer == layer for c in components):
                handles.append(block.mlp.register_forward_hook(_on_output(by.mlps[layer], rows, last)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _on_input(heads: list[int | None], by: Tensor, rows: Tensor, last: Tensor) -> Any:
    def hook(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        hidden = inputs[0].clone()
        by_head = hidden.view(*hidden.shape[:2], -1, by.shape[-1])
        by_head[rows[:, None], _position(hidden, last)[:, None], torch.tensor(heads)] = by.to(hidden.dtype)
        return hidden, *inputs[1:]

    return hook


def _on_output(by: Tensor, rows: Tensor, last: Tensor) -> Any:
    def hook(_: nn.Module, __: Any, output: Tensor) -> Tensor:
        changed = output.clone()
        by_position = changed.view(len(last), -1, changed.shape[-1])  # some modules return flat tokens
        by_position[rows, _position(by_position, last)] = by.to(output.dtype)
        return changed

    return hook


def _position(hidden: Tensor, last: Tensor) -> Tensor:
    """Position of the last token: the last block computes that one alone."""
    return last if hidden.shape[1] > 1 else torch.zeros_like(last)
