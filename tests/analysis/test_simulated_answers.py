"""Simulated sweeps: their label bias, their labels, and the rows that are answered alike."""

from dataclasses import replace

import numpy as np
import pytest

from dynamics.label_bias import centred
from tests.learning import STEPS, Design, simulate, simulate_both, simulate_logits

SMALL = Design(learns_at=(6.0, 6.3, np.inf, np.inf), n_templates=1, n_seeds=3, n_examples=80)


def test_without_label_bias_both_forms_are_the_same_and_with_it_only_centred_answers_are_right() -> None:
    for one, other in zip(*(answers.values() for answers in simulate_both(SMALL, 0)), strict=True):
        np.testing.assert_array_equal(one.labels, other.labels)
    raw, less_bias = (answers[96] for answers in simulate_both(replace(SMALL, bias=3), 0))
    right = [(answers.labels[..., :2] == answers.gold[:, None]).mean() for answers in (raw, less_bias)]
    assert right[0] < right[1] - 0.1
    assert np.mean(less_bias.labels == 0) == pytest.approx(0.5, abs=0.1)


def test_rows_are_as_unbalanced_and_as_alike_as_the_design_says() -> None:
    answers = simulate(replace(SMALL, gold_shares=(0.75, 0.25), rows_alike=4), 0)[STEPS[-1]]
    assert np.bincount(answers.gold).tolist() == [60, 20]
    assert len(set(answers.row_groups)) == 20
    for group in set(answers.row_groups):
        rows = [i for i, of_row in enumerate(answers.row_groups) if of_row == group]
        assert len(rows) == 4
        assert (answers.labels[:, rows] == answers.labels[:, rows[:1]]).all()
        assert len(set(answers.gold[rows])) == 1


def test_the_largest_logit_is_the_answer_with_and_without_bias() -> None:
    design = replace(SMALL, bias=0.8, rows_alike=2)
    answers, less_bias = simulate_both(design, 1)
    for step in simulate_logits(design, 1):
        logits = np.concatenate([step.contributions, step.full[:, :, None]], 2)
        without = np.stack([centred(of_prompt) for of_prompt in logits])
        for stored, values in ((answers, logits), (less_bias, without)):
            of_step = stored[step.step]
            labels = np.concatenate([of_step.labels, of_step.full_labels[..., None]], -1)
            np.testing.assert_array_equal(values.argmax(-1), labels)


def test_logits_grow_to_their_size_at_the_last_step() -> None:
    flat, grown = (list(simulate_logits(replace(SMALL, bias=0.8, logits_grow=grow), 1)) for grow in (0, 3))
    for i, factor in ((0, 1), (-1, 4)):
        np.testing.assert_allclose(grown[i].contributions, factor * flat[i].contributions, rtol=1e-6)
        np.testing.assert_allclose(grown[i].full, factor * flat[i].full, rtol=1e-6)
