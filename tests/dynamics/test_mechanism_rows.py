"""Rows of mechanisms: which components are ablated together, and null where there is no number."""

from dataclasses import replace

import numpy as np
import pytest

from dynamics.components import Component, component_grid
from dynamics.decomposition import Decomposition, decompose
from dynamics.mechanisms.rows import BOTTOM, TOP, Measured, choose_sets, mechanism_table
from dynamics.mechanisms.settings import ABLATION, COPYING, LABEL_ATTENTION, Mechanism
from dynamics.prompts import PromptSet
from tests.dynamics.test_decomposition import ragged_prompts
from tests.dynamics.test_label_attention import few_shot
from tests.hand_built import TOKEN, blank, copy, write_head
from tests.models import VARIANTS, perturbed

KEYS = {"unit_id": "u", "model": "m", "step": 0, "task": "t"}


def planted(right: list[int], n_train: int = 8) -> Measured:
    """Candidates of a model of two layers and four heads that are right on so many of the training rows.

    The one test row says the opposite, so that a choice on it would show.
    """
    components = component_grid(2, 4, attention_bias=False)
    gold = [i % 2 for i in range(n_train)] + [0]
    contributions = np.zeros((len(gold), len(components), 2), np.float32)
    for candidate, n_right in enumerate(right, 1):
        for row, label in enumerate(gold):
            answer = label if row < n_right else 1 - label
            contributions[row, candidate, answer if row < n_train else int(n_right > 4)] = 1
    prompts = PromptSet(
        task="planted",
        template="t",
        demo_seed=0,
        n_shots=0,
        label_words=("a", "b"),
        label_ids=(5, 6),
        shared_ids=(),
        own_ids=((1,),) * len(gold),
        split=("train",) * n_train + ("test",),
        example_id=tuple(map(str, range(len(gold)))),
        gold=tuple(gold),
    )
    split = Decomposition(components, contributions, np.zeros(2, np.float32), contributions.sum(1), 0.0, 0.0)
    return Measured(perturbed(VARIANTS["llama"]), range(64), prompts, split, lambda _: prompts, None)


RIGHT = [4, 8, 4, 1, 4, 4, 7, 4, 0, 4]


def test_the_best_and_the_worst_on_training_rows_and_different_sets_of_the_others() -> None:
    names = {name: " ".join(c.name for c in chosen) for name, chosen in choose_sets(planted(RIGHT), 2)}
    assert names[TOP] == "L0H1 L1H1"
    assert names[BOTTOM] == "L0H3 L1H3"
    random = [own for name, own in names.items() if name.startswith("random-")]
    assert len(random) == len(set(random)) == 5
    assert not {"L0H1", "L1H1", "L0H3", "L1H3"} & set(" ".join(random).split())


@pytest.mark.parametrize(("k", "size", "n_random"), [(1, 1, 5), (3, 3, 4), (9, 3, 4)])
def test_drawn_sets_are_as_many_as_differ_and_k_is_at_most_a_third(k: int, size: int, n_random: int) -> None:
    """Of ten candidates, three best and three worst leave four, of which there are four sets of three."""
    chosen = choose_sets(planted(RIGHT), k)
    assert {len(components) for _, components in chosen} == {size}
    drawn = [components for name, components in chosen if name.startswith("random-")]
    assert len(drawn) == len(set(drawn)) == n_random


def test_without_training_rows_there_is_the_full_model_alone_and_a_reason() -> None:
    rows = mechanism_table(planted(RIGHT, n_train=0), Mechanism(ABLATION, 2, "mean"), KEYS).to_pylist()
    assert [row["selection"] for row in rows] == ["none"]
    assert "no training rows to choose components on; give the task n_train" in rows[0]["reason"]
    assert rows[0]["accuracy"] is not None


def real(n_train: int, n_test: int) -> Measured:
    """A random model on ragged prompts."""
    model, prompts = perturbed(VARIANTS["llama"]), ragged_prompts(n_examples=n_train + n_test)
    prompts = replace(prompts, split=("train",) * n_train + ("test",) * n_test)
    return Measured(model, range(2, 60), prompts, decompose(model, prompts), lambda _: prompts, None)


def test_each_set_and_each_of_its_components_once_with_its_setting() -> None:
    rows = mechanism_table(real(6, 9), Mechanism(ABLATION, 2, "zero"), KEYS).to_pylist()
    names = [row["selection"] for row in rows]
    assert names == ["none", "top", "bottom", *(f"random-{i}" for i in range(5)), *["single"] * 6]
    assert {row["k"] for row in rows} == {2}
    assert {row["replacement"] for row in rows} == {"zero"}
    assert {row["reason"] for row in rows} == {None}
    chosen = {name for row in rows[1:4] for name in row["components"].split()}
    assert {row["components"] for row in rows if row["selection"] == "single"} == chosen
    assert len({row["fit_id"] for row in rows}) == 1


def test_one_test_row_has_no_spread_of_self_repair() -> None:
    for n_test, is_null in ((1, True), (2, False)):
        rows = mechanism_table(real(6, n_test), Mechanism(ABLATION, 1, "mean"), KEYS).to_pylist()
        assert {row["self_repair_sd"] is None for row in rows[1:]} == {is_null}
        assert all(row["total_effect"] is not None for row in rows[1:])


def test_a_head_that_writes_nothing_has_no_copying_score() -> None:
    model, prompts = blank(n_layers=1), few_shot()
    write_head(model, 0, 1, value=copy(TOKEN), output=copy(TOKEN))
    measured = Measured(model, range(1, 48), prompts, decompose(model, prompts), lambda _: prompts, None)
    rows = mechanism_table(measured, Mechanism(COPYING), KEYS).to_pylist()
    values = {row["component"]: row["value"] for row in rows if row["measure"] == "copying"}
    assert values["L0H1"] == pytest.approx(1, abs=0.01)
    assert values["L0H0"] is None
    assert {c.name for c in (Component("head", 0, h) for h in range(4))} == set(values)


def test_rows_of_label_attention_are_one_for_each_head_and_measure() -> None:
    model, prompts = blank(n_layers=1), few_shot()
    measured = Measured(model, range(1, 48), prompts, decompose(model, prompts), lambda _: prompts, None)
    rows = mechanism_table(measured, Mechanism(LABEL_ATTENTION), KEYS).to_pylist()
    assert len(rows) == 4 * 7 == len({(row["measure"], row["component"]) for row in rows})
    assert {row["n"] for row in rows} == {2}
