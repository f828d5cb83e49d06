"""Attention of a forward pass as it is computed: queries, keys and values of each layer, after rotary embedding.

The fused kernel returns no attention weights. Here every layer calls a function of ours that computes the same outputs
by that kernel and lets an observer look at queries, keys, values and mask first. The observer keeps what it needs, such
as the weights of one query per prompt, so that no layer's weights of all positions need to be stored. It works for
every family whose attention goes through transformers' table of attention functions: grouped queries, sliding windows
and query norms are in what is passed.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, eager_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from dynamics.errors import UnsupportedModel

_NAME = "observed"
"""The name under which transformers finds the function while a pass is observed, and always its mask."""
AttentionMaskInterface.register(_NAME, eager_mask)


@dataclass(frozen=True)
class LayerAttention:
    """What one layer's attention is computed from.

    Attributes:
        layer: number of the block.
        query: (example, head, query position, d_head).
        key, value: (example, key head, key position, d_head); query heads share them in equal groups, in order.
        mask: (example or 1, 1, query position, key position), added to the scores; None where all keys are seen.
        scaling: factor of the scores.
    """

    layer: int
    query: Tensor
    key: Tensor
    value: Tensor
    mask: Tensor | None
    scaling: float

    def weights(self, positions: Tensor | None = None) -> Tensor:
        """Attention weights in float32.

        Args:
            positions: (example,) the query of each example; None for all queries.

        Returns:
            (example, head, key position) for one query each, else (example, head, query position, key position).
        """
        query, mask = self.query, self.mask
        if positions is not None:
            rows = torch.arange(len(query), device=query.device)
            query = query[rows, :, positions].unsqueeze(2)
            if mask is not None:
                mask = mask.expand(len(rows), -1, -1, -1)[rows, :, positions].unsqueeze(2)
        n_groups = query.shape[1] // self.key.shape[1]
        keys = self.key.repeat_interleave(n_groups, 1)
        scores = (query @ keys.transpose(2, 3)).float() * self.scaling
        weights = torch.softmax(scores if mask is None else scores + mask.float(), -1)
        return weights if positions is None else weights[:, :, 0]


@contextmanager
def observed(model: PreTrainedModel, observe: Callable[[LayerAttention], None]) -> Iterator[None]:
    """Forward passes inside call `observe` for every layer, in order; their results do not change.

    Args:
        model: the model whose passes are observed, one at a time in a process.
        observe: called with each layer's attention before its output is computed.

    Raises:
        UnsupportedModel: the model computes attention outside this table.
    """
    if not model._supports_attention_backend:
        raise UnsupportedModel(
            f"attention of {model.config.model_type} models is computed where it cannot be observed; take "
            "label_attention and sequences out of the plan's mechanisms"
        )

    def attention(
        module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **kwargs: Any
    ) -> tuple[Tensor, None]:
        layer, scaling = module.layer_idx, kwargs.get("scaling")
        assert isinstance(layer, int)
        scale = query.shape[-1] ** -0.5 if scaling is None else float(scaling)
        observe(LayerAttention(layer, query, key, value, mask, scale))
        return sdpa_attention_forward(module, query, key, value, mask, **kwargs)[0], None

    before = model.config._attn_implementation
    ALL_ATTENTION_FUNCTIONS[_NAME] = attention
    try:
        model.config._attn_implementation = _NAME
        yield
    finally:
        model.config._attn_implementation = before
        del ALL_ATTENTION_FUNCTIONS[_NAME]
