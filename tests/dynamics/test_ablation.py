"""Direct and total effects of models built by hand: the only route, a redundant one, one that writes a constant."""

from collections.abc import Sequence

import numpy as np
from transformers import GPT2LMHeadModel

from dynamics import scores
from dynamics.components import Component
from dynamics.decomposition import decompose
from dynamics.mechanisms.ablation import MEAN, ZERO, Ablated, ablate, effect, mean_outputs
from dynamics.prompts import PromptSet
from tests.hand_built import POSITION, SHARP, blank, copy, towards, write_head

NO, YES = 40, 41
WORDS = (10, 11, 12, 13, 20, 21, 22, 23)
"""Texts of one word: four of label 0, four of label 1."""
SIDES = {word: 1.0 if word < 20 else -1.0 for word in WORDS}
FIRST, BACKUP, CONSTANT = Component("head", 0, 0), Component("head", 1, 1), Component("mlp", 0, None)


def prompt_set() -> PromptSet:
    """A prompt of some other words and one text each."""
    return PromptSet(
        task="sides",
        template="text",
        demo_seed=0,
        n_shots=0,
        label_words=("no", "yes"),
        label_ids=(NO, YES),
        shared_ids=(1, 2, 3),
        own_ids=tuple((4, word) for word in WORDS),
        split=("test",) * len(WORDS),
        example_id=tuple(map(str, WORDS)),
        gold=tuple(int(word >= 20) for word in WORDS),
    )


def attend_to_itself(model: GPT2LMHeadModel, layer: int, head: int, reads: dict[int, float], gain: float) -> None:
    """A head that attends to its own position, sums the coordinates of some tokens, and writes YES against NO."""
    write_head(
        model,
        layer,
        head,
        query=copy(POSITION, gain=SHARP),
        key=copy(POSITION),
        value=towards(reads),
        output=towards({NO: gain, YES: -gain}),
    )


def one_route() -> GPT2LMHeadModel:
    """L0H0 alone tells the sides apart; an MLP writes the same vector for every text."""
    model = blank()
    attend_to_itself(model, 0, 0, SIDES, gain=0.1)
    bias = model.transformer.h[0].mlp.c_proj.bias
    bias[[NO, YES]] = bias.new_tensor([0.3, -0.3])
    return model


def two_routes() -> GPT2LMHeadModel:
    """Beside it L1H1, which tells the sides apart too, and takes off what the first head wrote: it is a backup."""
    model = blank()
    attend_to_itself(model, 0, 0, SIDES, gain=1 / 16)
    attend_to_itself(model, 1, 1, {**SIDES, NO: -0.5, YES: 0.5}, gain=1 / 16)
    return model


def without(model: GPT2LMHeadModel, components: Sequence[Component], replacement: str = MEAN) -> Ablated:
    """The model's answers without some components."""
    prompts = prompt_set()
    split = decompose(model, prompts)
    return ablate(model, prompts, split, components, mean_outputs(model, prompts), replacement=replacement)


def effects(
    model: GPT2LMHeadModel, components: Sequence[Component], replacement: str = MEAN
) -> tuple[np.ndarray, np.ndarray]:
    """Direct and total effect of each row."""
    gold, full = np.array(prompt_set().gold), decompose(model, prompt_set()).full
    ablated = without(model, components, replacement)
    return effect(gold, full, ablated.direct), effect(gold, full, ablated.full)


def accuracy(logits: np.ndarray) -> float:
    """Of the label with the largest logit; a tie counts by its share."""
    return float(scores.accuracy(scores.credit(logits.round(4)), np.array(prompt_set().gold)))


def test_without_its_only_route_a_model_is_at_chance_and_the_effects_agree() -> None:
    model = one_route()
    model.transformer.h[0].mlp.c_proj.bias.zero_()
    assert accuracy(decompose(model, prompt_set()).full) == 1
    assert accuracy(without(model, [FIRST]).full) == 0.5
    direct, total = effects(model, [FIRST])
    assert direct.min() > 1
    np.testing.assert_allclose(total, direct, atol=1e-4)


def test_what_a_backup_makes_up_for_is_missing_in_the_total_effect() -> None:
    model = two_routes()
    assert accuracy(decompose(model, prompt_set()).full) == 1
    assert accuracy(without(model, [FIRST]).full) == 1
    assert accuracy(without(model, [BACKUP]).full) == 1
    assert accuracy(without(model, [FIRST, BACKUP]).full) == 0.5
    direct, total = effects(model, [FIRST])
    assert direct.mean() > 1
    assert abs(total.mean()) < 0.1 * direct.mean()
    np.testing.assert_allclose(np.subtract(*effects(model, [BACKUP])), 0, atol=0.02 * direct.mean())


def test_a_constant_has_no_effect_by_its_mean_and_one_by_zero() -> None:
    model = one_route()
    for values in effects(model, [CONSTANT]):
        np.testing.assert_allclose(values, 0, atol=1e-4)
    direct, total = effects(model, [CONSTANT], ZERO)
    assert abs(direct).min() > 0.5
    assert abs(total).min() > 0.5
    assert (np.sign(direct) == np.where(np.array(prompt_set().gold) == 0, 1, -1)).all()


def test_effects_are_positive_where_a_component_helps() -> None:
    gold, full = np.array([0, 1]), np.array([[3.0, 1.0], [0.0, 0.5]])
    np.testing.assert_array_equal(effect(gold, full, np.zeros((2, 2))), [2, 0.5])


def test_of_a_head_that_writes_nothing_on_average_the_mean_is_zero() -> None:
    model = one_route()
    for own, other in zip(effects(model, [FIRST]), effects(model, [FIRST], ZERO), strict=True):
        np.testing.assert_allclose(own, other, atol=1e-3)
    assert without(model, [FIRST]).full.shape == (len(WORDS), 2)
    assert without(model, [FIRST]).components == (FIRST,)
