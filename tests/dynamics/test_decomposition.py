"""The identity: parts sum to logits. Reference equivalence: the fast path against a plain one."""

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from dynamics.components import component_grid
from dynamics.decomposition import decompose, model_logits, relative_error
from dynamics.families import anatomy
from dynamics.prompts import PromptSet
from tests.models import tiny_neox

VOCABULARY = 64


def ragged_prompts(n_examples: int = 9, shared: int = 7, seed: int = 0, n_labels: int = 3) -> PromptSet:
    """Random token ids of ragged lengths."""
    rng = np.random.default_rng(seed)
    own = tuple(tuple(rng.integers(2, VOCABULARY, rng.integers(1, 12)).tolist()) for _ in range(n_examples))
    return PromptSet(
        task="random",
        template="ragged",
        demo_seed=0,
        n_shots=0,
        label_words=tuple("abc"[:n_labels]),
        label_ids=tuple(range(5, 5 + n_labels)),
        shared_ids=tuple(rng.integers(2, VOCABULARY, shared).tolist()),
        own_ids=own,
        split=("test",) * n_examples,
        example_id=tuple(map(str, range(n_examples))),
        gold=tuple(i % n_labels for i in range(n_examples)),
    )


def one_by_one(model: PreTrainedModel, prompts: PromptSet) -> np.ndarray:
    """Label logits by ordinary unpadded Hugging Face passes."""
    return np.stack([model_logits(model, prompts, i) for i in range(len(prompts.own_ids))])


@pytest.mark.parametrize("parallel", [True, False], ids=["parallel", "sequential"])
@pytest.mark.parametrize("shared", [0, 7])
@pytest.mark.parametrize("token_budget", [1, 40, 10_000])
def test_parts_sum_to_logits_and_logits_are_the_models_own(parallel: bool, shared: int, token_budget: int) -> None:
    model, prompts = tiny_neox(VOCABULARY, parallel=parallel), ragged_prompts(shared=shared)
    split = decompose(model, prompts, token_budget=token_budget)
    assert split.error < 1e-5
    assert split.forward_error < 1e-5
    own = one_by_one(model, prompts)
    assert relative_error(split.full, own) < 1e-5
    assert relative_error(split.contributions.sum(1) + split.constant, own) < 1e-5


@pytest.mark.parametrize("parallel", [True, False], ids=["parallel", "sequential"])
def test_each_part_equals_a_plain_computation(parallel: bool) -> None:
    """One example at a time: full d_model vectors per head, explicit final norm."""
    model, prompts = tiny_neox(VOCABULARY, parallel=parallel), ragged_prompts()
    split = decompose(model, prompts)
    for example in range(len(prompts.own_ids)):
        expected = plain_contributions(model, prompts, example)
        np.testing.assert_allclose(split.contributions[example], expected, atol=2e-5)


def plain_contributions(model: PreTrainedModel, prompts: PromptSet, example: int) -> np.ndarray:
    """Contributions (component, label) of one example from whole activations, captured by plain hooks."""
    layers, captured = model.gpt_neox.layers, {}
    hooks = []
    for i, layer in enumerate(layers):
        dense, mlp = layer.attention.dense, layer.mlp
        hooks.append(dense.register_forward_hook(lambda _, a, __, i=i: captured.update({("a", i): a[0][0, -1]})))
        hooks.append(mlp.register_forward_hook(lambda _, __, o, i=i: captured.update({("m", i): o[0, -1]})))
    ids = torch.tensor([prompts.token_ids(example)])
    with torch.no_grad():
        states = model(input_ids=ids, output_hidden_states=True).hidden_states
    for hook in hooks:
        hook.remove()
    parts = [states[0][0, -1]]
    for i, layer in enumerate(layers):
        n_heads, weight = 4, layer.attention.dense.weight
        for h in range(n_heads):
            only = torch.zeros_like(captured["a", i])
            width = only.shape[0] // n_heads
            only[h * width : (h + 1) * width] = captured["a", i][h * width : (h + 1) * width]
            parts.append(weight @ only)
        parts += [captured["m", i], layer.attention.dense.bias]
    residual, norm = torch.stack(parts).sum(0), model.gpt_neox.final_layer_norm
    scale = torch.sqrt(residual.var(unbiased=False) + norm.eps)
    rows = model.lm_head.weight[list(prompts.label_ids)]
    return torch.stack([rows @ ((part - part.mean()) / scale * norm.weight) for part in parts]).numpy()


def test_leaving_out_any_part_is_detected() -> None:
    """The error is a measure that can fail: every kind of part matters to it."""
    model, prompts = tiny_neox(VOCABULARY, parallel=True), ragged_prompts()
    split = decompose(model, prompts)
    for j, component in enumerate(split.components):
        without = np.delete(split.contributions, j, axis=1).sum(1) + split.constant
        assert relative_error(without, split.full) > 1e-3, component.name


def test_components_are_in_the_order_of_the_grid(neox: PreTrainedModel) -> None:
    parts = anatomy(neox)
    grid = component_grid(parts.n_layers, parts.n_heads, attention_bias=True)
    names = [c.name for c in grid]
    assert names == [
        "embed",
        "L0H0",
        "L0H1",
        "L0H2",
        "L0H3",
        "L0MLP",
        "L0bias",
        "L1H0",
        "L1H1",
        "L1H2",
        "L1H3",
        "L1MLP",
        "L1bias",
    ]


def test_permuted_examples_permute_rows(neox: PreTrainedModel) -> None:
    prompts = ragged_prompts()
    order = np.random.default_rng(1).permutation(len(prompts.own_ids))
    moved = PromptSet(
        **{
            **{name: getattr(prompts, name) for name in prompts.__dataclass_fields__},
            "own_ids": tuple(prompts.own_ids[i] for i in order),
            "gold": tuple(prompts.gold[i] for i in order),
        }
    )
    a, b = decompose(neox, prompts), decompose(neox, moved)
    np.testing.assert_allclose(a.contributions[order], b.contributions, atol=1e-5)


def test_hooks_are_gone_even_after_an_error(neox: PreTrainedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise IndexError("in the middle of a pass")

    monkeypatch.setattr(neox.gpt_neox.layers[1].mlp, "forward", fail)
    with pytest.raises(IndexError, match="in the middle of a pass"):
        decompose(neox, ragged_prompts())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in neox.modules())


def test_nan_gives_a_nan_error() -> None:
    assert np.isnan(relative_error(np.array([np.nan]), np.array([1.0])))
    assert not (relative_error(np.array([1.0]), np.array([np.nan])) <= 1e9)
