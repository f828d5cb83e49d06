"""One battery over every family and variant: the identity, the forward pass, and the gate in half precision."""

import copy
from dataclasses import dataclass, replace
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from dynamics import families
from dynamics.decomposition import decompose, model_logits, relative_error
from dynamics.errors import UnsupportedModel
from dynamics.gate import FORWARD_TOLERANCE, TOLERANCE
from dynamics.prompts import PromptSet
from dynamics.supported_models import SOFTCAPPING
from tests.dynamics.test_decomposition import one_by_one, ragged_prompts
from tests.models import VARIANTS, perturbed


@dataclass(frozen=True)
class Names:
    """Names of modules for the reference computation, independent of the family files."""

    layers: str
    projection: str
    mlp: str
    final_norm: str
    post_norm: str | None = None
    weight_is_in_out: bool = False


_LLAMA = Names("model.layers", "self_attn.o_proj", "mlp", "model.norm")
_NORMED_AFTER = replace(_LLAMA, mlp="post_feedforward_layernorm", post_norm="post_attention_layernorm")
NAMES = {
    "gpt_neox": Names("gpt_neox.layers", "attention.dense", "mlp", "gpt_neox.final_layer_norm"),
    "gpt2": Names("transformer.h", "attn.c_proj", "mlp", "transformer.ln_f", weight_is_in_out=True),
    "llama": _LLAMA,
    "mistral": _LLAMA,
    **dict.fromkeys(("olmo", "olmoe", "qwen2", "qwen3", "qwen3_moe", "smollm3", "gemma", "apertus"), _LLAMA),
    **dict.fromkeys(("olmo2", "olmo3", "gemma2", "gemma3_text"), _NORMED_AFTER),
    "phi": replace(_LLAMA, projection="self_attn.dense", final_norm="model.final_layernorm"),
    "opt": Names("model.decoder.layers", "self_attn.out_proj", "fc2", "model.decoder.final_layer_norm"),
    "bloom": Names("transformer.h", "self_attention.dense", "mlp.dense_4h_to_h", "transformer.ln_f"),
}

every_variant = pytest.mark.parametrize("variant", VARIANTS)


def build(variant: str, seed: int = 0) -> PreTrainedModel:
    """A random model of a variant, every parameter perturbed."""
    return perturbed(copy.deepcopy(VARIANTS[variant]), seed)


def test_every_family_has_a_variant_and_every_variant_a_family() -> None:
    assert {config.model_type for config in VARIANTS.values()} == set(families.FAMILIES) == set(NAMES)


@every_variant
@pytest.mark.parametrize("token_budget", [1, 40, 10_000])
def test_parts_sum_to_the_logits_of_unpadded_passes(variant: str, token_budget: int) -> None:
    """A ragged, padded batch after a shared prefix against one whole prompt at a time."""
    model, prompts = build(variant), ragged_prompts()
    split = decompose(model, prompts, token_budget=token_budget)
    own = one_by_one(model, prompts)
    assert split.error < 1e-5
    assert split.forward_error < 1e-5
    assert relative_error(split.full, own) < 1e-5
    assert relative_error(split.contributions.sum(1) + split.constant, own) < 1e-5


@every_variant
def test_a_shared_prefix_changes_nothing(variant: str) -> None:
    model, prompts = build(variant), ragged_prompts()
    whole = tuple(prompts.token_ids(i) for i in range(len(prompts.own_ids)))
    apart, together = decompose(model, prompts), decompose(model, replace(prompts, shared_ids=(), own_ids=whole))
    np.testing.assert_allclose(apart.contributions, together.contributions, atol=1e-5)


@every_variant
def test_each_part_equals_a_plain_computation(variant: str) -> None:
    model, prompts = build(variant), ragged_prompts()
    split = decompose(model, prompts)
    for example in range(len(prompts.own_ids)):
        expected = plain_contributions(model, prompts, example)
        assert split.contributions[example].shape == expected.shape
        np.testing.assert_allclose(split.contributions[example], expected, atol=2e-5)


@every_variant
def test_leaving_out_any_part_is_seen(variant: str) -> None:
    split = decompose(build(variant), ragged_prompts())
    for j, component in enumerate(split.components):
        without = np.delete(split.contributions, j, axis=1).sum(1) + split.constant
        assert relative_error(without, split.full) > 10 * TOLERANCE["float32"], component.name


@every_variant
def test_hooks_are_gone_even_after_an_error(variant: str) -> None:
    model, prompts = build(variant), ragged_prompts()
    with patch.object(torch.nn.Embedding, "forward", side_effect=IndexError), pytest.raises(IndexError):
        decompose(model, prompts)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


@every_variant
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_the_gate_in_half_precision(variant: str, dtype: str) -> None:
    """Right numbers pass with room to spare; without its heaviest part, or against another prompt, a unit fails."""
    model = build(variant).to(getattr(torch, dtype))
    prompts = ragged_prompts()
    split = decompose(model, prompts)
    assert split.error <= TOLERANCE[dtype] / 2
    assert split.forward_error <= FORWARD_TOLERANCE[dtype] / 2
    heaviest = int(np.abs(split.contributions).max((0, 2)).argmax())
    without = np.delete(split.contributions, heaviest, axis=1).sum(1) + split.constant
    assert relative_error(without, split.full) > TOLERANCE[dtype]
    assert relative_error(model_logits(model, prompts, 0), split.full[1]) > FORWARD_TOLERANCE[dtype]


def test_a_short_window_changes_the_logits() -> None:
    """The windowed variant tests something: with the same weights, no window gives other logits."""
    windowed, whole = build("mistral-short-window"), build("mistral-no-window")
    prompts = ragged_prompts()
    assert relative_error(decompose(windowed, prompts).full, decompose(whole, prompts).full) > 0.01


@pytest.mark.parametrize("window", [1, 2, 6, 7, 8])
def test_a_window_about_as_long_as_the_demonstrations(window: int) -> None:
    """Seven tokens are shared; transformers keeps those that a window of the next token reaches."""
    config = copy.deepcopy(VARIANTS["mistral-short-window"])
    config.sliding_window = window
    model, prompts = perturbed(config), ragged_prompts()
    for token_budget in (1, 40, 10_000):
        split = decompose(model, prompts, token_budget=token_budget)
        assert relative_error(split.full, one_by_one(model, prompts)) < 1e-5


def test_an_unbiased_llama_has_no_bias_component_and_a_biased_one_has() -> None:
    plain, biased = (decompose(build(v), ragged_prompts()).components for v in ("llama", "llama-biased"))
    assert [c.name for c in plain] == ["embed", *(f"L{i}{p}" for i in (0, 1) for p in ("H0", "H1", "H2", "H3", "MLP"))]
    assert len(biased) == len(plain) + 2


def test_an_unknown_family_is_refused_with_the_list_and_the_place_to_add_one() -> None:
    model = build("llama")
    model.config.model_type = "no_such_family"
    with pytest.raises(UnsupportedModel) as error:
        decompose(model, ragged_prompts())
    places = ("dynamics/families/<model_type>.py", "dynamics/supported_models.py")
    for expected in ("'no_such_family'", *places, *families.FAMILIES):
        assert expected in str(error.value)


@every_variant
@pytest.mark.parametrize("key", families.NOT_COVERED)
def test_a_config_that_rescales_is_refused_by_the_name_of_its_key(variant: str, key: str) -> None:
    model = build(variant)
    setattr(model.config, key, None if key in SOFTCAPPING else 1.0)
    families.anatomy(model)
    setattr(model.config, key, 30.0)
    with pytest.raises(UnsupportedModel, match=f"config key {key} = 30.0"):
        families.anatomy(model)


@pytest.mark.parametrize("key", SOFTCAPPING)
def test_a_cap_of_1_is_a_cap(key: str) -> None:
    model = build("gemma2")
    setattr(model.config, key, 1.0)
    with pytest.raises(UnsupportedModel, match=f"config key {key} = 1.0 .* Only None is"):
        families.anatomy(model)


@pytest.mark.parametrize(
    ("variant", "key", "value"),
    [
        ("gpt2", "add_cross_attention", True),
        ("gemma3_text", "use_bidirectional_attention", True),
        ("opt", "do_layer_norm_before", False),
        ("opt", "word_embed_proj_dim", 16),
        ("bloom", "apply_residual_connection_post_layernorm", True),
    ],
)
def test_a_config_without_the_identity_is_refused(variant: str, key: str, value: object) -> None:
    config = copy.deepcopy(VARIANTS[variant])
    setattr(config, key, value)
    with pytest.raises(UnsupportedModel, match=f"config key {key} = {value}"):
        families.anatomy(perturbed(config))


def test_bloom_in_slices_is_refused() -> None:
    config = copy.deepcopy(VARIANTS["bloom"])
    config.pretraining_tp, config.slow_but_exact = 2, True
    with pytest.raises(UnsupportedModel, match="slow_but_exact"):
        families.anatomy(perturbed(config))


@every_variant
def test_a_projection_that_is_not_a_plain_matrix_is_refused(variant: str) -> None:
    """As an adapter or a quantised layer would be."""
    model = build(variant)
    names = NAMES[model.config.model_type]
    parent, _, name = names.projection.rpartition(".")
    last = model.get_submodule(names.layers)[-1].get_submodule(parent)
    setattr(last, name, nn.Sequential(getattr(last, name)))
    with pytest.raises(UnsupportedModel, match="not a plain"):
        families.anatomy(model)


@every_variant
def test_heads_of_unequal_width_are_refused(variant: str) -> None:
    model = build(variant)
    model.config.num_attention_heads = 5
    with pytest.raises(UnsupportedModel, match="num_attention_heads = 5"):
        families.anatomy(model)


def plain_contributions(model: PreTrainedModel, prompts: PromptSet, example: int) -> np.ndarray:
    """Contributions (component, label) of one example: whole activations, one d_model vector per part."""
    names = NAMES[model.config.model_type]
    embedding, layers = activations(model, names, prompts.token_ids(example))
    parts = [embedding, *(p for captured, layer in layers for p in parts_of(captured, layer, names, model))]
    parts = [part.double() for part in parts]  # the quotient below has small divisors, which enlarge rounding errors
    residual, norm = torch.stack(parts).sum(0), copy.deepcopy(model.get_submodule(names.final_norm)).double()
    # A norm's output less its output at 0 (its bias) is linear in the parts, but for the scale; read off the module.
    scale = norm(residual) - norm(torch.zeros_like(residual))
    if "LayerNorm" in type(norm).__name__:
        parts, residual = [part - part.mean() for part in parts], residual - residual.mean()
    rows = model.get_output_embeddings().weight[list(prompts.label_ids)].double()
    return torch.stack([rows @ (part * (scale / residual)) for part in parts]).numpy()


def activations(model: PreTrainedModel, names: Names, token_ids: tuple[int, ...]) -> tuple[Tensor, list]:
    """Last-token embedding, and per layer what the projection read and what it and the MLP wrote."""
    layers = [(SimpleNamespace(), layer) for layer in model.get_submodule(names.layers)]
    hooks = []
    for captured, layer in layers:

        def projected(_: nn.Module, inputs: tuple, output: Tensor, captured: SimpleNamespace = captured) -> None:
            captured.heads, captured.attention = inputs[0][0, -1], output[0, -1]

        def mlp(_: nn.Module, __: tuple, output: Tensor, captured: SimpleNamespace = captured) -> None:
            captured.mlp = output.view(-1, output.shape[-1])[-1]  # OPT has flat tokens

        hooks.append(layer.get_submodule(names.projection).register_forward_hook(projected))
        hooks.append(layer.get_submodule(names.mlp).register_forward_hook(mlp))
    with torch.no_grad():
        states = model(input_ids=torch.tensor([token_ids]), output_hidden_states=True).hidden_states
    for hook in hooks:
        hook.remove()
    return states[0][0, -1], layers


def parts_of(captured: SimpleNamespace, layer: nn.Module, names: Names, model: PreTrainedModel) -> list[Tensor]:
    """What the heads, the MLP and the projection's bias of one layer add to the residual, d_model each."""
    projection = layer.get_submodule(names.projection)
    weight = projection.weight.T if names.weight_is_in_out else projection.weight
    n_heads = model.config.num_attention_heads
    width, heads = len(captured.heads) // n_heads, []
    for h in range(n_heads):
        only = torch.zeros_like(captured.heads)
        only[h * width : (h + 1) * width] = captured.heads[h * width : (h + 1) * width]
        heads.append(weight @ only)
    written = [*heads, *([] if projection.bias is None else [projection.bias])]
    if names.post_norm is not None:
        post = layer.get_submodule(names.post_norm)
        # What the post-norm multiplies each coordinate by, read off its output.
        written = [part * (post(captured.attention) / captured.attention) for part in written]
    return [*written[:n_heads], captured.mlp, *written[n_heads:]]
