"""Every rope type of transformers, with prompts around its switch: batches equal each prompt alone in a fresh model."""

import copy
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from dynamics import decomposition
from dynamics.decomposition import decompose, model_logits, relative_error
from dynamics.errors import UnsupportedModel
from dynamics.families import anatomy
from dynamics.families.rotary import BY_LENGTH, SAME_AT_EVERY_LENGTH
from dynamics.full_model import full_logits
from dynamics.methods.nearest import checkpoint_embedder, encoder_embedder
from dynamics.prompts import PromptSet
from tests.dynamics.test_decomposition import VOCABULARY, ragged_prompts
from tests.models import VARIANTS, perturbed

SWITCH = 16
ROPE_TYPES = ("default", *ROPE_INIT_FUNCTIONS)
_PARAMETERS = {name: getattr(config, "rope_parameters", None) for name, config in VARIANTS.items()}
ROTARY = {VARIANTS[name].model_type: name for name in reversed(VARIANTS) if "rope_type" in (_PARAMETERS[name] or {})}
BY_LAYER = {
    VARIANTS[name].model_type: name for name, by_layer in _PARAMETERS.items() if "sliding_attention" in (by_layer or {})
}
"""Families with one rope type, and those with one for each type of layer -> a variant."""
WHOLE_BATTERY = ("gpt_neox", "llama", "mistral", "olmo2")
"""Of the others, whose rotary embedding is written like these, only types that depend on the length are tested."""
OWN_LENGTHS = (9, 10, 3, 11, 8, 1, 14, 10, 25, 9)
"""After 7 shared tokens: 16, the longest below the switch, and 17 beside each other, longer and shorter ones around."""

every_type = pytest.mark.parametrize("rope_type", ROPE_TYPES)
every_rotary = pytest.mark.parametrize("variant", [ROTARY[family] for family in WHOLE_BATTERY])
every_other = pytest.mark.parametrize("variant", [ROTARY[name] for name in sorted({*ROTARY} - {*WHOLE_BATTERY})])


@cache
def opened(variant: str, rope_type: str) -> PreTrainedModel:
    """A random model of a rope type; copied before use, since passes may leave other frequencies behind."""
    config = copy.deepcopy(VARIANTS[variant])
    config.max_position_embeddings = SWITCH if rope_type == "dynamic" else 4 * SWITCH
    partial = 0.5 if config.model_type in ("gpt_neox", "phi") else 1.0
    d_head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    half = int(d_head * partial) // 2
    config.rope_parameters = {
        "rope_type": rope_type,
        "rope_theta": 100.0,
        "partial_rotary_factor": partial,
        "factor": 4.0,
        "original_max_position_embeddings": SWITCH,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "short_factor": [1.0] * half,
        "long_factor": [3.0] * half,
    }
    return perturbed(config)


def fresh(variant: str, rope_type: str) -> Any:
    return copy.deepcopy(opened(variant, rope_type))


def around_the_switch(shared: int = 7) -> PromptSet:
    rng = np.random.default_rng(1)
    prompts = ragged_prompts(len(OWN_LENGTHS), shared=shared)
    return replace(prompts, own_ids=tuple(tuple(rng.integers(2, VOCABULARY, n).tolist()) for n in OWN_LENGTHS))


def whole(prompts: PromptSet) -> PromptSet:
    """The same prompts without a shared prefix."""
    return replace(prompts, shared_ids=(), own_ids=tuple(map(prompts.token_ids, range(len(prompts.own_ids)))))


@cache
def alone(variant: str, rope_type: str, shared: int) -> np.ndarray:
    """Label logits of each prompt by `model(input_ids)`, in a model that has seen no other."""
    prompts = around_the_switch(shared)
    logits = []
    for i in range(len(prompts.own_ids)):
        with torch.no_grad():
            last = fresh(variant, rope_type)(input_ids=torch.tensor([prompts.token_ids(i)])).logits[0, -1]
        logits.append(last[list(prompts.label_ids)].numpy())
    return np.stack(logits)


def test_every_rope_type_of_transformers_is_known() -> None:
    assert set(ROPE_TYPES) == {*SAME_AT_EVERY_LENGTH, *BY_LENGTH}


@every_rotary
@every_type
@pytest.mark.parametrize("shared", [7, 20])
@pytest.mark.parametrize("token_budget", [1, 60, 10_000])
def test_batches_equal_each_prompt_alone(variant: str, rope_type: str, shared: int, token_budget: int) -> None:
    """With demonstrations shorter than the switch and longer ones, shared and not."""
    own = alone(variant, rope_type, shared)
    for prompts in (around_the_switch(shared), whole(around_the_switch(shared))):
        split = decompose(fresh(variant, rope_type), prompts, token_budget=token_budget)
        assert relative_error(split.full, own) < 1e-5
        assert relative_error(split.contributions.sum(1) + split.constant, own) < 1e-5
        assert split.forward_error < 1e-5


@every_other
@pytest.mark.parametrize("rope_type", BY_LENGTH)
def test_batches_of_the_other_families_equal_each_prompt_alone(variant: str, rope_type: str) -> None:
    split = decompose(fresh(variant, rope_type), around_the_switch(), token_budget=60)
    assert relative_error(split.full, alone(variant, rope_type, 7)) < 1e-5
    assert split.forward_error < 1e-5


def test_every_family_with_a_rotary_embedding_is_tested() -> None:
    without = {"gpt2", "opt", "bloom"}
    assert {config.model_type for config in VARIANTS.values()} == {*ROTARY, *BY_LAYER} | without


@pytest.mark.parametrize("variant", BY_LAYER.values())
def test_types_of_layers_whose_frequencies_depend_on_the_length_are_refused(variant: str) -> None:
    """Each type of layer would have a switch of its own."""
    config = copy.deepcopy(VARIANTS[variant])
    scaled = {"rope_type": "dynamic", "rope_theta": 100.0, "factor": 4.0}
    config.rope_parameters = {**config.rope_parameters, "full_attention": scaled}
    with pytest.raises(UnsupportedModel, match=r"full_attention.*dynamic"):
        anatomy(perturbed(config))


@every_rotary
@pytest.mark.parametrize("rope_type", BY_LENGTH)
@pytest.mark.parametrize("token_budget", [1, 10_000])
def test_logits_alone_equal_them_too(variant: str, rope_type: str, token_budget: int) -> None:
    for prompts in (around_the_switch(), whole(around_the_switch())):
        full = full_logits(fresh(variant, rope_type), prompts, token_budget=token_budget)
        assert relative_error(full.logits, alone(variant, rope_type, 7)) < 1e-5
        assert full.forward_error < 1e-5


@every_rotary
@pytest.mark.parametrize("rope_type", BY_LENGTH)
def test_the_tests_prompts_have_several_frequencies(variant: str, rope_type: str) -> None:
    """The battery tests something: without the scaling beyond the switch, long prompts differ and short ones do not."""
    prompts = around_the_switch()
    beyond = np.array([len(prompts.token_ids(i)) > SWITCH for i in range(len(prompts.own_ids))])
    never: Any = fresh(variant, rope_type)
    never.base_model.rotary_emb.rope_type = "default"  # the frequencies of short sequences stay
    with torch.no_grad():
        unscaled = [never(input_ids=torch.tensor([prompts.token_ids(i)])).logits[0, -1] for i in range(len(beyond))]
    differs = np.abs(torch.stack(unscaled)[:, list(prompts.label_ids)].numpy() - alone(variant, rope_type, 7)).max(1)
    assert (differs[beyond] > 1e-3).all()
    assert (differs[~beyond] < 1e-6).all()


@every_rotary
@every_type
def test_what_ran_before_changes_nothing(variant: str, rope_type: str) -> None:
    """Frequencies of a longer prompt are not kept: in either order of prompts, twice, and for the check itself."""
    model, prompts = fresh(variant, rope_type), around_the_switch()
    order = np.random.default_rng(2).permutation(len(prompts.own_ids))
    moved = replace(
        prompts,
        own_ids=tuple(prompts.own_ids[i] for i in order),
        gold=tuple(prompts.gold[i] for i in order),
    )
    own = alone(variant, rope_type, 7)
    assert relative_error(decompose(model, prompts, token_budget=60).full, own) < 1e-5
    assert relative_error(decompose(model, moved, token_budget=1).full, own[order]) < 1e-5
    by_length = sorted(range(len(own)), key=lambda i: len(prompts.own_ids[i]))
    for i in (*by_length, *by_length[::-1]):
        assert relative_error(model_logits(model, prompts, i), own[i]) < 1e-5


@every_rotary
@pytest.mark.parametrize("rope_type", BY_LENGTH)
def test_a_batch_that_is_halved_keeps_its_frequencies(
    variant: str, rope_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    split_logits = decomposition.split_logits

    def small_memory(parts, projection, last):
        if len(last.heads) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return split_logits(parts, projection, last)

    monkeypatch.setattr(decomposition, "split_logits", small_memory)
    split = decompose(fresh(variant, rope_type), around_the_switch())
    assert relative_error(split.full, alone(variant, rope_type, 7)) < 1e-5


@every_rotary
@pytest.mark.parametrize("rope_type", BY_LENGTH)
@pytest.mark.parametrize("token_budget", [1, 10_000])
def test_embeddings_equal_each_text_alone(variant: str, rope_type: str, token_budget: int) -> None:
    """Texts are cut at max_position_embeddings, so those of `dynamic` have one set of frequencies."""
    prompts = whole(around_the_switch())
    names = list(map(str, range(len(prompts.own_ids))))
    tokenizer: Any = Tokens(dict(zip(names, prompts.own_ids, strict=True)))

    def embed(texts: list[str], budget: int) -> np.ndarray:
        return checkpoint_embedder(fresh(variant, rope_type), tokenizer, token_budget=budget)(texts)

    together = embed(names, token_budget)
    apart = np.concatenate([embed([name], 1) for name in names])
    np.testing.assert_allclose(together, apart, atol=1e-5)


@dataclass(frozen=True)
class Tokens:
    """A tokenizer of a few known texts."""

    ids: dict[str, tuple[int, ...]]
    bos_token_id: int | None = None

    pad_token_id: int = 0
    model_max_length: int = 3 * SWITCH

    def __call__(self, texts: list[str], **_: object) -> dict[str, list[list[int]]]:
        return {"input_ids": [list(self.ids[text]) for text in texts]}


@every_rotary
@pytest.mark.parametrize("rope_type", ["default", "longrope"])
def test_embeddings_by_an_encoder_equal_each_text_alone(
    variant: str, rope_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = whole(around_the_switch())
    names = list(map(str, range(len(prompts.own_ids))))
    tokenizer = Tokens(dict(zip(names, prompts.own_ids, strict=True)))
    encoder = fresh(variant, rope_type).base_model
    monkeypatch.setattr("dynamics.methods.nearest._open_encoder", lambda *_: (encoder, tokenizer))
    embed = encoder_embedder(Path("encoder"), token_budget=10_000)
    np.testing.assert_allclose(embed(names), np.concatenate([embed([name]) for name in names]), atol=1e-5)


@every_rotary
def test_a_rope_type_that_is_not_known_is_refused_before_a_pass(variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = fresh(variant, "default")
    model.base_model.rotary_emb.rope_type = "zigzag"
    monkeypatch.setattr(model.base_model, "forward", lambda *_, **__: pytest.fail("a pass was made"))
    for run in (decompose, full_logits):
        with pytest.raises(UnsupportedModel, match=r"rope_type = 'zigzag'.* Allowed: default, .*dynamic"):
            run(model, around_the_switch())


def test_frequencies_are_those_of_the_shortest_like_length() -> None:
    longrope, dynamic = (anatomy(fresh("llama", name)) for name in BY_LENGTH)
    lengths = (1, SWITCH, SWITCH + 1, SWITCH + 2)
    assert [longrope.frequencies_like(n) for n in lengths] == [SWITCH, SWITCH, SWITCH + 1, SWITCH + 1]
    assert [dynamic.frequencies_like(n) for n in lengths] == [SWITCH, SWITCH, SWITCH + 1, SWITCH + 2]
    assert {anatomy(fresh("llama", "yarn")).frequencies_like(n) for n in lengths} == {0}
