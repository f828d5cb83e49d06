"""Replaced components against plain hooks on whole prompts, one at a time, for every family."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from dynamics.components import Component
from dynamics.decomposition import Decomposition, decompose, unembedding_projection
from dynamics.families import anatomy
from dynamics.forward.intervention import Written, replaced
from dynamics.forward.last_token import last_token
from dynamics.mechanisms.ablation import MEAN, ZERO, ablate, mean_outputs
from dynamics.prompts import PromptSet
from tests.dynamics.test_decomposition import one_by_one, ragged_prompts
from tests.dynamics.test_families import NAMES
from tests.models import VARIANTS, perturbed

CHOSEN = (Component("head", 0, 1), Component("head", 0, 3), Component("mlp", 0, None), Component("head", 1, 2))
LAST = (Component("mlp", 1, None), Component("head", 1, 0))
every_variant = pytest.mark.parametrize("name", VARIANTS)


def built(name: str) -> tuple[PreTrainedModel, PromptSet, Decomposition]:
    """A random model, ragged prompts after a shared prefix, their decomposition."""
    model, prompts = perturbed(VARIANTS[name]), ragged_prompts()
    return model, prompts, decompose(model, prompts)


def modules_of(model: PreTrainedModel) -> list[tuple[Any, Any]]:
    """The attention output projection and the module that adds the MLP, of each layer, by name."""
    names = NAMES[model.config.model_type]
    layers = model.get_submodule(names.layers)
    return [(layer.get_submodule(names.projection), layer.get_submodule(names.mlp)) for layer in layers]


def of_last_token(values: Tensor) -> Tensor:
    """The last token's row of one prompt's values, which are flat, (position, width), in the MLP of OPT; a view."""
    return values.view(-1, values.shape[-1])[-1]


def hooked(model: PreTrainedModel, prompts: PromptSet, register: Callable[[ExitStack], None]) -> np.ndarray:
    """Label logits by plain passes over whole prompts, one at a time, inside hooks that `register` enters."""
    with ExitStack() as stack:
        register(stack)
        return one_by_one(model, prompts)


def plain_means(model: PreTrainedModel, prompts: PromptSet) -> list[tuple[Tensor, Tensor]]:
    """Means over prompts of what each layer's heads and MLP write at the last token."""
    seen: dict[tuple[int, str], list[Tensor]] = {}

    def keep(layer: int, part: str) -> Callable[..., None]:
        def hook(_: object, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            values = inputs[0] if part == "heads" else output
            seen.setdefault((layer, part), []).append(of_last_token(values))

        return hook

    def register(stack: ExitStack) -> None:
        for layer, modules in enumerate(modules_of(model)):
            for part, module in zip(("heads", "mlp"), modules, strict=True):
                stack.callback(module.register_forward_hook(keep(layer, part)).remove)

    hooked(model, prompts, register)
    n = len(prompts.own_ids)
    return [
        (torch.stack(seen[layer, "heads"][:n]).mean(0), torch.stack(seen[layer, "mlp"][:n]).mean(0))
        for layer in range(model.config.num_hidden_layers)
    ]


def plain_ablation(
    model: PreTrainedModel, prompts: PromptSet, components: tuple[Component, ...], means: list[tuple[Tensor, Tensor]]
) -> np.ndarray:
    """Label logits where the outputs of projections and MLPs are edited at the last token."""
    parts = anatomy(model)

    def edit(layer: int, heads: list[int], *, mlp: bool) -> Callable[..., Tensor]:
        def hook(_: object, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            changed = output.clone()
            if mlp:
                of_last_token(changed).copy_(means[layer][1])
            for head in heads:
                own = inputs[0][0, -1].view(parts.n_heads, -1)[head]
                mean = means[layer][0].view(parts.n_heads, -1)[head]
                changed[0, -1] += (mean - own) @ parts.blocks[layer].w_o[head]
            return changed

        return hook

    def register(stack: ExitStack) -> None:
        for layer, (projection, mlp) in enumerate(modules_of(model)):
            heads = [c.head for c in components if c.kind == "head" and c.layer == layer and c.head is not None]
            stack.callback(projection.register_forward_hook(edit(layer, heads, mlp=False)).remove)
            if Component("mlp", layer, None) in components:
                stack.callback(mlp.register_forward_hook(edit(layer, [], mlp=True)).remove)

    return hooked(model, prompts, register)


@every_variant
def test_with_nothing_replaced_the_logits_are_the_models(name: str) -> None:
    model, prompts, split = built(name)
    ablated = ablate(model, prompts, split, (), mean_outputs(model, prompts))
    np.testing.assert_allclose(ablated.full, one_by_one(model, prompts), atol=1e-4)
    np.testing.assert_array_equal(ablated.direct, split.full)


@every_variant
@pytest.mark.parametrize("components", [CHOSEN, LAST, LAST[:1]], ids=["across layers", "last layer", "last MLP"])
@pytest.mark.parametrize("replacement", [MEAN, ZERO])
def test_replacements_are_those_of_plain_hooks_on_whole_prompts(
    name: str, components: tuple[Component, ...], replacement: str
) -> None:
    model, prompts, split = built(name)
    means = plain_means(model, prompts)
    if replacement == ZERO:
        means = [(torch.zeros_like(heads), torch.zeros_like(mlp)) for heads, mlp in means]
    expected = plain_ablation(model, prompts, components, means)
    ablated = ablate(model, prompts, split, components, mean_outputs(model, prompts), replacement=replacement)
    np.testing.assert_allclose(ablated.full, expected, atol=1e-4)
    assert np.abs(ablated.full - split.full).max() > 0.01


@every_variant
def test_neither_batches_nor_the_shared_prefix_matter(name: str) -> None:
    model, prompts, split = built(name)
    apart = replace(prompts, shared_ids=(), own_ids=tuple(prompts.token_ids(i) for i in range(len(prompts.own_ids))))
    means = mean_outputs(model, prompts, token_budget=1)
    one, some, many = (
        ablate(model, prompts, split, CHOSEN, means, token_budget=budget).full for budget in (1, 40, 10_000)
    )
    np.testing.assert_allclose(some, one, atol=1e-4)
    np.testing.assert_allclose(many, one, atol=1e-4)
    np.testing.assert_allclose(ablate(model, apart, split, CHOSEN, means, token_budget=40).full, one, atol=1e-4)
    for own, other in zip(
        vars(means.written).values(),
        vars(mean_outputs(model, apart, token_budget=10_000).written).values(),
        strict=True,
    ):
        torch.testing.assert_close(own, other, atol=1e-5, rtol=1e-5)


@every_variant
def test_without_all_heads_and_mlps_the_embedding_and_the_biases_are_left(name: str) -> None:
    model, prompts, split = built(name)
    parts = anatomy(model)
    means = mean_outputs(model, prompts)
    candidates = [component for component in split.components if component.is_candidate]
    ablated = ablate(model, prompts, split, candidates, means, replacement=ZERO)
    tokens = torch.tensor([prompts.token_ids(i)[-1] for i in range(len(prompts.own_ids))])
    residual = parts.embedding[tokens]
    if model.config.model_type == "gpt2":
        residual = residual + model.transformer.wpe.weight[[len(prompts.token_ids(i)) - 1 for i in range(len(tokens))]]
    if model.config.model_type in ("gemma", "gemma2", "gemma3_text", "opt", "bloom"):  # scaled, normed, with positions
        residual = last_token(parts, [prompts.token_ids(i) for i in range(len(tokens))]).embedding
    for block in parts.blocks:
        if block.attention_bias is not None:
            post = block.attention_post_norm
            residual = residual + (block.attention_bias if post is None else post.module(block.attention_bias))
    bias = 0 if parts.unembedding_bias is None else parts.unembedding_bias
    expected = (parts.final_norm.module(residual) @ parts.unembedding.T + bias)[:, list(prompts.label_ids)]
    np.testing.assert_allclose(ablated.full, expected.numpy(), atol=1e-4)


@every_variant
def test_direct_effects_are_those_of_the_mean_output_at_each_rows_own_scale(name: str) -> None:
    """One edit of the final residual, its norm's divisor kept; a post-norm's too."""
    model, prompts, split = built(name)
    parts, means = anatomy(model), plain_means(model, prompts)
    outputs = mean_outputs(model, prompts)
    direction = unembedding_projection(parts, prompts.label_ids).direction
    state = last_token(parts, [prompts.token_ids(i) for i in range(len(prompts.own_ids))])
    scale = parts.final_norm.scale(state.residual)
    for component in split.components:
        if component.is_candidate and component.layer is not None:
            block, (mean_heads, mean_mlp) = parts.blocks[component.layer], means[component.layer]
            replacement = mean_mlp.expand(len(scale), -1)
            if component.head is not None:
                replacement = mean_heads.view(parts.n_heads, -1)[component.head] @ block.w_o[component.head]
                post = block.attention_post_norm
                if post is not None and state.projected is not None:
                    replacement = post.gain * replacement / post.scale(state.projected[:, component.layer])
            own = split.contributions[:, split.components.index(component)]
            expected = split.full - own + (replacement @ direction / scale).numpy()
            ablated = ablate(model, prompts, split, [component], outputs)
            np.testing.assert_allclose(ablated.direct, expected, atol=1e-4)


@every_variant
def test_hooks_are_gone_even_after_an_error(name: str) -> None:
    model, prompts, _ = built(name)
    by = mean_outputs(model, prompts).written
    with pytest.raises(IndexError), replaced(anatomy(model), CHOSEN, by, prompts.own_ids):
        raise IndexError
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_the_batchs_own_vectors_are_not_changed() -> None:
    model, prompts, split = built("llama")
    means = mean_outputs(model, prompts)
    by = means.written
    before = Written(by.heads.clone(), by.mlps.clone())
    ablate(model, prompts, split, CHOSEN, means)
    assert torch.equal(by.heads, before.heads)
    assert torch.equal(by.mlps, before.mlps)
    np.testing.assert_allclose(decompose(model, prompts).full, split.full, atol=1e-6)
