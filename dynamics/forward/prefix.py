"""Demonstrations computed once: their keys and values, read by every batch and written by none.

A cache of transformers grows by what passes through it, so reusing one means copying it for every example of every
batch, and keeping all layers' copies until the batch is done. Here each layer hands attention one batch's keys (the
shared ones, repeated by a view, then the batch's own) and keeps nothing: a single layer's copy exists at a time.
"""

from typing import Any

import torch
from torch import Tensor
from transformers import Cache, DynamicCache
from transformers.cache_utils import DynamicLayer


class SharedPrefix(Cache):
    """Keys and values of tokens that all examples begin with; the same after a forward pass as before it."""

    def __init__(self, filled: DynamicCache) -> None:
        """Args: filled: the cache that one pass over the shared tokens, alone in its batch, has filled."""
        super().__init__(layers=[_SharedLayer(layer) for layer in filled.layers])


class _SharedLayer(DynamicLayer):
    """One layer's share, with whatever window its layer has."""

    def __init__(self, filled: Any) -> None:
        super().__init__()
        self.filled = filled
        self.is_sliding = filled.is_sliding
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """The shared keys and values followed by the batch's own: (example, head, shared + own, d_head) each."""
        return _after(self.filled.keys, key_states), _after(self.filled.values, value_states)

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """How many keys attention sees, and the position of the first: a window may have dropped some."""
        return self.filled.get_mask_sizes(query_length)

    def get_seq_length(self) -> int:
        """Tokens read so far, those that a window dropped included."""
        return self.filled.get_seq_length()


def _after(shared: Tensor, own: Tensor) -> Tensor:
    return torch.cat([shared.expand(len(own), -1, -1, -1), own], dim=-2)
