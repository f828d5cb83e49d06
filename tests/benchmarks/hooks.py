"""The decomposition against forward hooks as usually written: every output captured whole, heads as d_model vectors."""

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from dynamics.decomposition import decompose, relative_error
from dynamics.forward.batching import batches
from dynamics.prompts import PromptSet
from tests.benchmarks.timing import Row, in_turns
from tests.benchmarks.workloads import TOKENS, plain_pass, pythia, real_prompts, whole_ids


def against_hooks() -> Iterator[Row]:
    """Same label contributions, with and without shared demonstrations."""
    for size, n_prompts in (("70m", 32), ("160m", 16)):
        model, prompts = pythia(size), real_prompts("sst2", n_prompts)
        ours = decompose(model, prompts, token_budget=TOKENS)
        heads = [i for i, component in enumerate(ours.components) if component.kind == "head"]
        error = relative_error(by_hooks(model, prompts), ours.contributions[:, heads])
        assert error < 1e-4, f"hooks give other contributions: {error}"
        times = in_turns(
            {
                "plain": partial(plain_pass, model, prompts),
                "shared": partial(decompose, model, prompts, token_budget=TOKENS),
                "hooks": partial(by_hooks, model, prompts),
            },
            runs=3,
        )
        on = f"{size}, {n_prompts} of sst2, 3 runs"
        yield Row("hooks / plain", on, times.ratio("hooks", "plain"), note=times.note("hooks", "plain"))
        yield Row("hooks / ours", on, times.ratio("hooks", "shared"), note=f"difference {error:.1e}")


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
