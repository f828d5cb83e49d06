"""Rows that belong together: whole in one half, permuted and drawn as wholes, and the level that this restores."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import analysis
from analysis.reading.answers import StepAnswers, all_common_prompts, read_answers
from analysis.reading.credit import credit_counts
from analysis.statistics.curve_accuracies import PERMUTED, RESAMPLED, design_of
from analysis.statistics.null import permuted_extremes
from analysis.statistics.onset import band
from analysis.statistics.replicates import Permuted, Resampled, all_counts, halves_of, permuted, resampled
from dynamics.methods.selection import Answers, balanced_halves, group_members, heldout_split_half
from dynamics.results.places import place
from tests.learning import Design, simulate
from tests.stores import add_unit, new_store

N = 60
MIXED = [0, 0, 1, 1, 2, 2, 0, 1, 2, 0, 1, 2, 0, 0, 0, 0, *[0, 1, 2] * 8]
GROUPS = [
    *["pair-a"] * 2, *["pair-b"] * 2, *["pair-c"] * 2, *["abc-1"] * 3, *["abc-2"] * 3, *["four"] * 4, *[None] * 24,
]  # fmt: skip


def ids(n: int) -> list[str]:
    return [f"{i:04d}" for i in range(n)]


@pytest.mark.parametrize("seed", range(5))
def test_groups_are_whole_in_balanced_halves_that_follow_the_ids(seed: int) -> None:
    gold, names = np.array(MIXED), np.array(ids(40))
    first = balanced_halves(gold, names, GROUPS, seed=seed)
    for rows in group_members(GROUPS):
        assert len(set(first[rows].tolist())) == 1
    surplus = [int((first & (gold == y)).sum() - (~first & (gold == y)).sum()) for y in range(3)]
    assert max(map(abs, surplus)) <= 1
    order = np.random.default_rng(seed).permutation(40)
    again = balanced_halves(gold[order], names[order], [GROUPS[i] for i in order], seed=seed)
    assert (again == first[order]).all()
    assert (balanced_halves(gold, names, [None] * 40, seed=seed) == balanced_halves(gold, names, seed=seed)).all()


def test_one_group_cannot_be_halved() -> None:
    with pytest.raises(ValueError, match="one group cannot be halved"):
        balanced_halves(np.array([0, 1]), None, ["a", "a"])


def test_labels_of_groups_of_a_size_are_exchanged_together() -> None:
    gold = np.array(MIXED).astype(np.uint8)
    halves = np.arange(16), np.arange(16, 40)
    labels = permuted(gold, halves, 3, N, GROUPS).one_hot[0].reshape(N + 1, 3, 16).argmax(1)
    assert (labels[0] == gold[:16]).all()
    pairs = labels[:, :6].reshape(-1, 3, 2)
    assert (pairs[..., 0] == pairs[..., 1]).all()
    assert (np.sort(pairs[..., 0], 1) == [0, 1, 2]).all()
    assert len({tuple(row) for row in pairs[..., 0].tolist()}) == 6
    assert (np.sort(labels[:, 6:12].reshape(-1, 2, 3), -1) == [0, 1, 2]).all()
    assert len({tuple(row) for row in labels[:, 6:9].tolist()}) == 6
    assert (labels[:, 12:16] == 0).all()


def test_groups_are_drawn_as_wholes_and_numbers_of_rows_stay() -> None:
    gold = np.array(MIXED).astype(np.uint8)
    halves = np.arange(16), np.arange(16, 40)
    weights = resampled(gold, halves, N, GROUPS).weights
    assert (weights[:, 6:9] == weights[:, 6:7]).all()
    assert (weights[:, 6] + weights[:, 9] == 2).all()
    assert np.ptp(weights[:, 6]) == 2
    for half in halves:
        for label in range(3):
            assert (weights[:, half[gold[half] == label]].sum(1) == (gold[half] == label).sum()).all()
    assert weights[:, 0].std() > 0


def test_lone_rows_are_permuted_and_drawn_as_without_groups() -> None:
    gold = (np.arange(40) % 2).astype(np.uint8)
    halves = halves_of(gold, ids(40))
    none, lone = [None] * 40, [f"group-{i}" for i in range(40)]
    for groups in (none, lone, ()):
        for one, other in zip(
            permuted(gold, halves, 2, N).one_hot, permuted(gold, halves, 2, N, groups).one_hot, strict=True
        ):
            np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(resampled(gold, halves, N).weights, resampled(gold, halves, N, groups).weights)


@pytest.mark.parametrize(("size", "without"), [(2, 0.03), (8, 0.2)])
def test_guesses_on_near_duplicates_emerge_at_the_level_only_with_groups(size: int, without: float) -> None:
    """Rows of a cluster share label and guess: the share of guessing curves above their band of 1 % at any step."""
    n_rows, n_steps, n_curves = 160, 6, 300
    cluster = np.arange(n_rows) // size
    gold = (cluster % 2).astype(np.uint8)
    groups = [f"c{c}" for c in cluster]
    guesses = np.random.default_rng(1).integers(0, 2, (n_steps * n_curves, n_rows // size))[:, cluster]
    credit = credit_counts(guesses.astype(np.uint8), None, 2)

    def emerged(known: list[str] | None) -> float:
        replicates = permuted(gold, halves_of(gold, ids(n_rows), known), 2, 300, known)
        accuracy = replicates.of_single_answers(credit).reshape(n_steps, n_curves, -1) / n_rows
        return float((accuracy[..., 0] > band(accuracy[..., 1:], 0.01) + 1e-9).any(0).mean())

    assert emerged(None) > without
    assert emerged(groups) <= 0.025


@pytest.mark.parametrize("size", [2, 8])
def test_intervals_on_clusters_are_as_wide_as_they_should_be(size: int) -> None:
    """SD of the resampled accuracy of a guess on clusters: that of 160 / size independent rows, not of 160."""
    cluster = np.arange(160) // size
    gold = (cluster % 2).astype(np.uint8)
    groups = [f"c{c}" for c in cluster]
    hits = np.random.default_rng(2).integers(0, 2, (50, 160 // size))[:, cluster]
    answers = np.where(hits, gold, 1 - gold).astype(np.uint8)
    replicates = resampled(gold, halves_of(gold, ids(160), groups), 400, groups)
    sd = (replicates.of_single_answers(credit_counts(answers, None, 2)) / 160).std(1).mean()
    strata = 160 / size / 4
    assert sd == pytest.approx(np.sqrt(0.25 / (160 / size) * (1 - 1 / strata)), rel=0.05)


def test_groups_are_read_from_predictions(tmp_path: Path) -> None:
    store = new_store(tmp_path / "out")
    gold = np.arange(20) % 2
    add_unit(store, np.zeros((20, 10), int), gold, groups={"00003": "00001", "00001": "00001", "00007": "00007"})
    (common,) = all_common_prompts(place(store.root))
    (answers,) = read_answers(place(store.root), common.group, common)
    assert [name for name in answers.row_groups if name] == ["00001", "00001", "00007"]
    first = balanced_halves(answers.gold, np.array(answers.example_id), answers.row_groups)
    assert first[1] == first[3]


@pytest.mark.parametrize("seed", range(3))
def test_halves_of_many_alike_groups_follow_the_ids(seed: int) -> None:
    gold, names, pairs = np.repeat(np.arange(20) % 2, 2), np.array(ids(40)), [f"p{i // 2}" for i in range(40)]
    first = balanced_halves(gold, names, pairs, seed=seed)
    order = np.random.default_rng(seed).permutation(40)
    assert (balanced_halves(gold[order], names[order], [pairs[i] for i in order], seed=seed) == first[order]).all()
    assert (balanced_halves(gold, names, pairs, seed=seed + 1) != first).any()


def paired_answers() -> StepAnswers:
    """One step of simulated answers, on rows of which every two belong together."""
    design = Design(n_seeds=1, n_templates=1, n_examples=40)
    answers = simulate(design, 0)[1024]
    gold = np.repeat(np.arange(20) % 2, 2).astype(np.uint8)
    return replace(answers, gold=gold, row_groups=tuple(f"p{i // 2}" for i in range(40)))


def test_the_design_of_a_group_keeps_rows_together() -> None:
    answers = paired_answers()
    design = design_of(answers, n=20)
    expected = halves_of(answers.gold, answers.example_id, answers.row_groups)
    np.testing.assert_array_equal(design.halves, expected)
    for half in design.halves:
        assert (half.reshape(-1, 2)[:, 0] // 2 == half.reshape(-1, 2)[:, 1] // 2).all()
    drawn, labels = design.replicates[RESAMPLED], design.replicates[PERMUTED]
    assert isinstance(drawn, Resampled)
    assert isinstance(labels, Permuted)
    assert (drawn.weights[:, ::2] == drawn.weights[:, 1::2]).all()
    for one_hot, half in zip(labels.one_hot, design.halves, strict=True):
        of_rows = one_hot.reshape(len(one_hot), 2, len(half))
        assert (of_rows[..., ::2] == of_rows[..., 1::2]).all()


def test_the_null_of_the_best_component_moves_groups() -> None:
    answers = paired_answers()
    ((best, _),) = permuted_extremes(answers)
    halves = halves_of(answers.gold, answers.example_id, answers.row_groups)
    replicates = permuted(answers.gold, halves, 2, groups=answers.row_groups)
    counts = all_counts(replicates, 0, answers.credit_counts(0, 1)).sum(0)
    np.testing.assert_allclose(best, counts[1:].max(1) / 40)


def test_stored_held_out_t1_keeps_groups_whole(tmp_path: Path) -> None:
    store = new_store(tmp_path / "out")
    gold = np.repeat(np.arange(20) % 2, 2)
    answers = np.random.default_rng(6).integers(0, 2, (40, 10))
    pairs = {name: f"p{i // 2}" for i, name in enumerate(f"{i:05d}" for i in range(40))}
    add_unit(store, answers, gold, groups=pairs)
    stored = analysis.load(store.root, "prompt_scores").filter(method="heldout_t1", variant="split_half").collect()
    on_rows = Answers(np.eye(2)[answers], gold)
    names = np.array(list(pairs))
    whole, split = balanced_halves(gold, names, list(pairs.values())), balanced_halves(gold, names)
    expected = heldout_split_half(on_rows, whole).accuracy
    assert stored["accuracy"].item() == pytest.approx(expected)
    assert expected != heldout_split_half(on_rows, split).accuracy


def test_test_rows_of_one_group_have_no_held_out_t1(tmp_path: Path) -> None:
    store = new_store(tmp_path / "out")
    add_unit(store, np.zeros((4, 10), int), np.arange(4) % 2, groups={f"{i:05d}": "one" for i in range(4)})
    stored = analysis.load(store.root, "prompt_scores").filter(method="heldout_t1", variant="split_half").collect()
    assert stored["reason"].item() == "4 test rows of one group cannot be halved"
    assert analysis.run("survival", store.root)["ceiling"].to_list() == [None]
