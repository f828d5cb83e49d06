"""Attention to label words and what is written towards them: heads built by hand, and the identity for every family."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional
from transformers import GPT2LMHeadModel

from dynamics.decomposition import attention_scale, decompose, unembedding_projection
from dynamics.errors import PromptError
from dynamics.families import anatomy
from dynamics.forward.attention import LayerAttention, observed
from dynamics.forward.last_token import last_token, shared_prefix
from dynamics.mechanisms.label_attention import label_attention, label_attention_scores, written_towards
from dynamics.prompts import PromptSet
from tests.dynamics.test_decomposition import ragged_prompts
from tests.hand_built import SHARP, TOKEN, blank, copy, towards, write_head
from tests.models import OBSERVED, VARIANTS, perturbed

NO, YES, CUE = 40, 41, 45
TEXTS = (10, 11, 12, 13, 14, 15)
DEMO_LABELS = ((1, 0), (3, 1), (5, 0), (7, 0))
"""Three demonstrations of label 0 and one of label 1."""


def few_shot() -> PromptSet:
    """Four demonstrations of a text and a label word, then a text and a cue; two test rows after a training row."""
    words = {0: NO, 1: YES}
    shared = tuple(
        token for text, (_, label) in zip(TEXTS, DEMO_LABELS, strict=False) for token in (text, words[label])
    )
    return PromptSet(
        task="built",
        template="text label",
        demo_seed=0,
        n_shots=4,
        label_words=("no", "yes"),
        label_ids=(NO, YES),
        shared_ids=shared,
        own_ids=((20, CUE), (21, CUE), (22, 23, CUE)),
        split=("train", "test", "test"),
        example_id=("a", "b", "c"),
        gold=(1, 0, 1),
        n_shots_used=4,
        demo_labels=DEMO_LABELS,
    )


@pytest.fixture(scope="module")
def built() -> GPT2LMHeadModel:
    """After a cue L0H0 and L0H1 attend to label words, L0H2 to the texts; the first copies, the second anti-copies."""
    model = blank(n_layers=1)
    query = towards({CUE: SHARP})
    labels, texts = towards({NO: 1, YES: 1}), towards(dict.fromkeys(TEXTS, 1))
    write_head(model, 0, 0, query=query, key=labels, value=copy(TOKEN), output=copy(TOKEN))
    write_head(model, 0, 1, query=query, key=labels, value=copy(TOKEN), output=copy(TOKEN, gain=-1))
    write_head(model, 0, 2, query=query, key=texts, value=copy(TOKEN), output=copy(TOKEN))
    return model


def measured(model: GPT2LMHeadModel, predicted: Sequence[int] = (0, 1, 1)) -> dict[str, np.ndarray]:
    """Measure -> score of each head of the first layer, over the test rows."""
    return {s.measure: s.values[0] for s in label_attention_scores(model, few_shot(), np.array(predicted))}


def test_a_copying_head_is_positive_one_that_writes_against_negative_another_zero(built: GPT2LMHeadModel) -> None:
    copying = measured(built)["label_copying"]
    assert copying[0] > 1
    assert copying[1] == pytest.approx(-copying[0])
    np.testing.assert_allclose(copying[2:], 0, atol=1e-3)


def test_masses_are_those_of_the_construction(built: GPT2LMHeadModel) -> None:
    """Attention to four label words alike: three quarters on label 0, of which one test row of two is."""
    found = measured(built)
    np.testing.assert_allclose(found["label_attention"], [1, 1, 0, (4 / 10 + 4 / 11) / 2], atol=1e-5)
    np.testing.assert_allclose(found["gold_attention"][:2], 0, atol=1e-5)
    np.testing.assert_allclose(found["predicted_attention"][:2], -0.5, atol=1e-5)
    np.testing.assert_allclose(found["demo_text_attention"], [0, 0, 1, (4 / 10 + 4 / 11) / 2], atol=1e-5)
    np.testing.assert_allclose(found["query_attention"], [0, 0, 0, (2 / 10 + 3 / 11) / 2], atol=1e-5)
    np.testing.assert_allclose(found["first_attention"], [0, 0, 0.25, (1 / 10 + 1 / 11) / 2], atol=1e-5)
    np.testing.assert_allclose(measured(built, (0, 0, 0))["predicted_attention"][:2], 0.5, atol=1e-5)


def test_scores_are_means_over_the_test_rows_with_their_spread(built: GPT2LMHeadModel) -> None:
    gold = {s.measure: s for s in label_attention_scores(built, few_shot(), np.array([0, 0, 0]))}["gold_attention"]
    assert gold.n == 2
    assert gold.sd is not None
    assert gold.sd[0, 0] == pytest.approx(np.std([0.5, -0.5], ddof=1), abs=1e-5)


def test_one_test_row_has_no_spread(built: GPT2LMHeadModel) -> None:
    prompts = replace(few_shot(), split=("train", "train", "test"))
    assert all(score.sd is None for score in label_attention_scores(built, prompts, np.array([0, 0, 0])))


def everywhere(model, prompts: PromptSet) -> tuple[Tensor, Tensor]:
    """Attention (example, layer, head, key position) and what is written from there towards each label, by s."""
    parts = anatomy(model)
    projection = unembedding_projection(parts, prompts.label_ids)
    last = torch.tensor([len(ids) - 1 for ids in prompts.own_ids])
    seen: list[tuple[Tensor, Tensor]] = []

    longest = len(prompts.shared_ids) + max(map(len, prompts.own_ids))

    def observe(layer: LayerAttention) -> None:
        weights, written = layer.weights(last), written_towards(layer.value, projection.heads[layer.layer])
        dropped = longest - weights.shape[-1]  # by the layer's sliding window
        seen.append((functional.pad(weights, (dropped, 0)), functional.pad(written, (0, 0, dropped, 0))))

    prefix = shared_prefix(parts, prompts.shared_ids, longest)
    with observed(model, observe):
        state = last_token(parts, prompts.own_ids, prefix)
    scale = parts.final_norm.scale(state.residual).view(-1, 1, 1, 1, 1) * attention_scale(parts, state)[..., None]
    weights, written = (torch.stack(values, 1) for values in zip(*seen, strict=True))
    return weights, written / scale


def with_demonstrations(demo_labels: Sequence[tuple[int, int]] = ((1, 2), (3, 0), (6, 1))) -> PromptSet:
    """Prompts of random tokens and several lengths, some of whose shared tokens count as label words."""
    return replace(ragged_prompts(), demo_labels=tuple(demo_labels))


@pytest.mark.parametrize("name", OBSERVED)
def test_what_is_written_from_all_positions_is_the_heads_contribution(name: str) -> None:
    model, prompts = perturbed(VARIANTS[name]), with_demonstrations()
    split = decompose(model, prompts)
    weights, written = everywhere(model, prompts)
    total = torch.einsum("elhp,elhpy->elhy", weights, written).numpy()
    heads = [i for i, component in enumerate(split.components) if component.kind == "head"]
    np.testing.assert_allclose(total.reshape(len(total), -1, 3), split.contributions[:, heads], atol=1e-5)


@pytest.mark.parametrize("name", OBSERVED)
def test_label_copying_is_summed_over_the_positions_of_label_words(name: str) -> None:
    """The sum over labels and positions written out, from attention and values at all positions."""
    model, prompts = perturbed(VARIANTS[name]), with_demonstrations()
    per_label, rest = label_attention(model, prompts)
    weights, written = (values.double().numpy() for values in everywhere(model, prompts))
    mass, copying = np.zeros_like(per_label), np.zeros_like(rest[..., 3])
    for position, label in prompts.demo_labels:
        mass[..., label] += weights[..., position]
        others = [y for y in range(3) if y != label]
        copying += weights[..., position] * (written[..., position, label] - written[..., position, others].mean(-1))
    np.testing.assert_allclose(per_label, mass, atol=1e-5)
    np.testing.assert_allclose(rest[..., 3], copying, atol=1e-5)
    if "window" not in name or "no-window" in name:
        assert np.abs(copying).mean() > 0.01


@pytest.mark.parametrize("name", OBSERVED)
def test_masses_sum_to_one_whatever_the_window_drops(name: str) -> None:
    per_label, rest = label_attention(perturbed(VARIANTS[name]), with_demonstrations())
    np.testing.assert_allclose(per_label.sum(-1) + rest[..., 0] + rest[..., 1], 1, atol=1e-5)
    assert (per_label >= 0).all()
    assert (rest[..., :3] > -1e-6).all()


@pytest.mark.parametrize("name", OBSERVED)
def test_neither_batches_nor_the_shared_prefix_matter(name: str) -> None:
    model, prompts = perturbed(VARIANTS[name]), with_demonstrations()
    found = [label_attention(model, prompts, token_budget=budget) for budget in (1, 40, 10_000)]
    more = replace(prompts, shared_ids=(*prompts.shared_ids, 17, 23))
    less = replace(prompts, own_ids=tuple((17, 23, *ids) for ids in prompts.own_ids))
    alone, together = label_attention(model, more), label_attention(model, less)
    for per_label, rest in found[1:]:
        np.testing.assert_allclose(per_label, found[0][0], atol=1e-5)
        np.testing.assert_allclose(rest, found[0][1], atol=1e-5)
    for own, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(own, other, atol=1e-5)


def test_a_prompt_set_whose_label_words_are_not_known_is_refused(built: GPT2LMHeadModel) -> None:
    prompts = replace(few_shot(), demo_labels=())
    with pytest.raises(PromptError, match=r"built/text label at 4 shots: .* give n_shots of 1 or more"):
        label_attention(built, prompts)
