"""Shared prefix: keys and values of the demonstrations, computed once and reused by every batch.

A cache of transformers grows with each forward pass, so reusing one means copying it for every example of every batch,
and keeping the copies of all layers until the batch is done. Here each layer passes the keys of one batch to attention
(the shared ones, repeated by a view, then the batch's own) and stores nothing, so one layer's copy exists at a time.
"""

from typing import Any

import torch
from torch import Tensor
from transformers import Cache, DynamicCache
from transformers.cache_utils import DynamicLayer


class SharedPrefix(Cache):
    """Keys and values of the tokens that all examples begin with; forward passes do not change them."""

    def __init__(self, filled: DynamicCache, like: int) -> None:
        """Keys and values for prompts whose rotary frequencies are those of one length.

        Args:
            filled: the cache after one forward pass over the shared tokens, in a batch of one.
            like: `Anatomy.frequencies_like` of these prompts' lengths.
        """
        super().__init__(layers=[_SharedLayer(layer) for layer in filled.layers])
        self.like = like


class _SharedLayer(DynamicLayer):
    """The keys and values of one layer, with its sliding window if it has one."""

    def __init__(self, filled: Any) -> None:
        super().__init__()
        self.filled = filled
        self.n_kept = filled.get_mask_sizes(0)[0]  # the cache of transformers keeps all keys of a window of 1
        self.is_sliding = filled.is_sliding
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """The shared keys and values followed by the batch's own: (example, head, shared + own, d_head) each."""
        first = self.filled.keys.shape[-2] - self.n_kept
        return (
            _after(self.filled.keys[:, :, first:], key_states),
            _after(self.filled.values[:, :, first:], value_states),
        )

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Number of keys for attention, and the position of the first, since a window may have dropped some."""
        return self.filled.get_mask_sizes(query_length)

    def get_seq_length(self) -> int:
        """Number of tokens so far, those that a window dropped included."""
        return self.filled.get_seq_length()


def _after(shared: Tensor, own: Tensor) -> Tensor:
    return torch.cat([shared.expand(len(own), -1, -1, -1), own], dim=-2)
