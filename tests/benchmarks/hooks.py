"""Contributions by forward hooks as usually written: every output captured whole, heads as d_model vectors."""

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from dynamics.forward.batching import batches
from dynamics.prompts import PromptSet
from tests.benchmarks.workloads import TOKENS, whole_ids


def by_hooks(model: PreTrainedModel, prompts: PromptSet) -> np.ndarray:
    """Contributions of all heads (example, head, label) to the label logits."""
    ids = whole_ids(prompts)
    groups = batches([len(own) for own in ids], 0, TOKENS)
    parts = [_one_batch(model, [ids[i] for i in group], prompts.label_ids) for group in groups]
    return torch.cat(parts).numpy()[np.argsort(np.concatenate(groups))]


def _one_batch(model: PreTrainedModel, ids: list[tuple[int, ...]], label_ids: tuple[int, ...]) -> Tensor:
    """Logits of the whole vocabulary at every position, inputs captured; then heads' vectors at the last token."""
    layers, norm = model.gpt_neox.layers, model.gpt_neox.final_layer_norm
    captured: dict[object, Tensor] = {}
    hooks = []
    for module in (*(layer.attention.dense for layer in layers), norm):

        def keep(module: nn.Module, inputs: tuple) -> None:
            captured[module] = inputs[0].detach().clone()

        hooks.append(module.register_forward_pre_hook(keep))
    width = max(map(len, ids))
    with torch.no_grad():
        model(input_ids=torch.tensor([[*own, *[0] * (width - len(own))] for own in ids]), use_cache=False)
    for hook in hooks:
        hook.remove()
    rows, last = torch.arange(len(ids)), torch.tensor([len(own) - 1 for own in ids])
    vectors = [_vectors(layer.attention.dense, captured[layer.attention.dense][rows, last], model) for layer in layers]
    scale = torch.sqrt(captured[norm][rows, last].var(-1, unbiased=False) + norm.eps)
    heads = torch.stack(vectors, 1).flatten(1, 2)
    normed = (heads - heads.mean(-1, keepdim=True)) / scale[:, None, None] * norm.weight
    return normed @ model.lm_head.weight[list(label_ids)].T


def _vectors(dense: nn.Linear, joined: Tensor, model: PreTrainedModel) -> Tensor:
    """What each head adds to the residual stream: (example, head, d_model)."""
    n_heads = model.config.num_attention_heads
    apart = joined.view(len(joined), n_heads, -1)
    return torch.einsum("ehd,mhd->ehm", apart, dense.weight.view(len(dense.weight), n_heads, -1))
