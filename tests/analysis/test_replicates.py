"""Replicates against obvious loops: permuted labels, swapped words, resampled examples; and choices in each."""

import numpy as np
import pytest

from analysis.reading.credit import credit_counts, credit_unit
from analysis.statistics.answer_bits import pack_credit, unpack_credit
from analysis.statistics.component_choice import B1, CROSS_SEED, HELD_OUT, T1, best_of, choose, most_accurate
from analysis.statistics.replicates import Replicates, all_counts, permuted, resampled, swapped
from dynamics import scores

GOLD = (np.arange(24) % 3).astype(np.uint8)
HALVES = np.arange(12), np.arange(12, 24)
N_LABELS, N_COMPONENTS, N = 3, 5, 40


def answers(seed: int = 0) -> tuple[np.ndarray, int]:
    """(example, component, label) whole numbers with ties of two and three, and their unit."""
    rng = np.random.default_rng(seed)
    labels, tied = scores.encode(rng.integers(0, 3, (24, N_COMPONENTS, N_LABELS)))
    unit = credit_unit(tied)
    assert unit == 6
    return credit_counts(labels, tied, N_LABELS, unit), unit


def all_kinds() -> dict[str, Replicates]:
    """One of each kind; two prompts, two seeds."""
    seed_of = np.array([0, 1])
    return {
        "permuted": permuted(GOLD, HALVES, N_LABELS, N),
        "swapped": swapped(GOLD, HALVES, N_LABELS, seed_of, N),
        "resampled": resampled(GOLD, HALVES, N),
    }


def test_permuted_labels_are_balanced_in_each_half_and_the_first_are_true() -> None:
    replicates = permuted(GOLD, HALVES, N_LABELS, N)
    for half, one_hot in zip(HALVES, replicates.one_hot, strict=True):
        labels = one_hot.reshape(N + 1, N_LABELS, len(half)).transpose(0, 2, 1)
        assert (labels.sum(1) == 4).all()
        assert (labels[0].argmax(-1) == GOLD[half]).all()
        assert len({tuple(row) for row in labels.argmax(-1)}) == N + 1


def test_permuted_counts_are_what_a_loop_counts() -> None:
    rows, _ = answers()
    replicates = permuted(GOLD, HALVES, N_LABELS, N)
    counts = all_counts(replicates, 0, rows)
    for h, half in enumerate(HALVES):
        labels = replicates.one_hot[h].reshape(N + 1, N_LABELS, len(half)).argmax(1)
        for r in range(0, N + 1, 7):
            for c in range(N_COMPONENTS):
                expected = sum(int(rows[half[i], c, labels[r, i]]) for i in range(len(half)))
                assert counts[h, r, c] == expected


def test_swapped_words_are_exchanged_alike_for_a_seeds_templates() -> None:
    rows, _ = answers()
    replicates = swapped(GOLD, HALVES, N_LABELS, np.array([0, 1, 0]), N)
    assert (replicates.word[0] == replicates.word[2]).all()
    assert (replicates.word[0] != replicates.word[1]).any()
    assert (np.sort(replicates.word, 1) == np.arange(N_LABELS)[:, None]).all()
    for r in range(0, N, 7):
        gold = replicates.word[1][GOLD, r]
        expected = rows[np.arange(24)[:, None], np.arange(N_COMPONENTS), gold[:, None]]
        for h, half in enumerate(HALVES):
            assert all_counts(replicates, 1, rows)[h, r].tolist() == expected[half].sum(0).tolist()


def test_examples_are_resampled_within_label_and_half() -> None:
    rows, _ = answers()
    replicates = resampled(GOLD, HALVES, N)
    for half in HALVES:
        for label in range(N_LABELS):
            assert (replicates.weights[:, half[GOLD[half] == label]].sum(1) == 4).all()
    hits = rows[np.arange(24), :, GOLD]
    expected = np.stack([replicates.weights[:, half] @ hits[half] for half in HALVES])
    np.testing.assert_array_equal(all_counts(replicates, 0, rows), expected)


@pytest.mark.parametrize("kind", ["permuted", "swapped", "resampled"])
def test_one_component_followed_counts_what_all_of_them_count(kind: str) -> None:
    (rows, unit), (others, _) = answers(), answers(1)
    replicates = all_kinds()[kind]
    counts = np.stack([all_counts(replicates, i, of_prompt) for i, of_prompt in enumerate((others, rows))], 1)
    component = np.random.default_rng(1).integers(0, N_COMPONENTS, counts.shape[:3])
    expected = np.take_along_axis(counts, component[..., None], -1)[..., 0]
    words = np.stack([pack_credit(of_prompt, HALVES, unit) for of_prompt in (others, rows)], 1)
    np.testing.assert_array_equal(replicates.traced(unpack_credit(words, HALVES, unit), component), expected)
    single = replicates.of_single_answers(np.stack([rows[:, 2], rows[:, 3]]))
    np.testing.assert_allclose(single[1], all_counts(replicates, 1, rows)[..., 3].sum(0))


@pytest.mark.parametrize("kind", ["permuted", "swapped", "resampled"])
@pytest.mark.parametrize("n_rows", [63, 64, 65, 200])
def test_followed_without_ties_over_words_that_are_full_or_not(kind: str, n_rows: int) -> None:
    """Halves of different length; the last label's bits are not stored where nothing ties."""
    rng = np.random.default_rng(n_rows)
    gold, n_first = rng.integers(0, 3, 2 * n_rows + 5).astype(np.uint8), n_rows
    halves = np.arange(n_first), np.arange(n_first, len(gold))
    kinds: dict[str, Replicates] = {
        "permuted": permuted(gold, halves, N_LABELS, N),
        "swapped": swapped(gold, halves, N_LABELS, np.array([0]), N),
        "resampled": resampled(gold, halves, N),
    }
    rows = credit_counts(rng.integers(0, 3, (len(gold), N_COMPONENTS)).astype(np.uint8), None, N_LABELS)
    counts = all_counts(kinds[kind], 0, rows)[:, None]
    component = rng.integers(0, N_COMPONENTS, counts.shape[:3])
    words = pack_credit(rows, halves, 1)[:, None]
    assert words.shape[3] == N_LABELS - 1
    expected = np.take_along_axis(counts, component[..., None], -1)[..., 0]
    np.testing.assert_array_equal(kinds[kind].traced(unpack_credit(words, halves, 1), component), expected)


def test_choices_are_what_a_loop_chooses() -> None:
    replicates = permuted(GOLD, HALVES, N_LABELS, N)
    unit = 6
    counts = np.stack([all_counts(replicates, 0, answers(seed)[0]) for seed in range(3)], 1)
    choice = choose(counts, [12 * unit, 12 * unit])
    share = counts / (12 * unit)
    for p in range(3):
        for r in range(0, N, 11):
            whole, (a, b) = share[:, p, r].mean(0), share[:, p, r]
            assert choice.accuracy[T1][p, r] == pytest.approx(whole.max())
            assert choice.accuracy[B1][p, r] == pytest.approx(whole.min())
            assert choice.best[p, r] == whole.argmax()
            assert choice.accuracy[HELD_OUT][p, r] == pytest.approx((b[a.argmax()] + a[b.argmax()]) / 2)
            others = share[:, [q for q in range(3) if q != p], r].sum(1)
            crossed = (b[others[0].argmax()] + a[others[1].argmax()]) / 2
            assert choice.accuracy[CROSS_SEED][p, r] == pytest.approx(crossed)


def test_one_seed_has_no_other_to_choose_on() -> None:
    counts = all_counts(permuted(GOLD, HALVES, N_LABELS, N), 0, answers()[0])[:, None]
    assert np.isnan(choose(counts, [72, 72]).accuracy[CROSS_SEED]).all()


def test_a_sign_that_seeds_draw_is_found_by_t1_and_not_across_seeds() -> None:
    """One component tells the classes apart under every seed, and points the right way under half of them."""
    rng = np.random.default_rng(2)
    gold = (np.arange(200) % 2).astype(np.uint8)
    halves = np.arange(100), np.arange(100, 200)
    counts = []
    for seed in range(10):
        labels = rng.integers(0, 2, (200, 4)).astype(np.uint8)
        labels[:, 1], labels[:, 2] = (gold, 1 - gold) if seed % 2 else (1 - gold, gold)
        counts.append(all_counts(permuted(gold, halves, 2, 1), 0, credit_counts(labels, None, 2)))
    choice = choose(np.stack(counts, 1), [100, 100])
    assert choice.accuracy[T1][:, 0].mean() == choice.accuracy[HELD_OUT][:, 0].mean() == 1
    assert choice.accuracy[CROSS_SEED][:, 0].mean() <= 0.5


def test_a_tie_goes_to_the_larger_gap_then_to_the_first() -> None:
    """Counts with many ties: the choice in every replicate is that of an obvious loop, whatever the integer type."""
    rng = np.random.default_rng(3)
    for dtype, n_rows in ((np.uint16, 4), (np.int64, 2**28)):
        counts = rng.choice([1, n_rows - 2, n_rows - 1], (2, 3, 50, 6)).astype(dtype)
        gaps = rng.integers(0, 3, (3, 6)).astype(float)
        choice = choose(counts, [n_rows, n_rows], gaps)
        halves = [(counts[h], counts[1 - h]) for h in (0, 1)]
        for p in range(3):
            for r in range(50):
                assert choice.best[p, r] == first_of_the_best(counts[:, p, r].sum(0), gaps[p])
                held_out = [scored[p, r][first_of_the_best(chosen[p, r], gaps[p])] for chosen, scored in halves]
                assert choice.accuracy[HELD_OUT][p, r] == pytest.approx(np.mean(held_out) / n_rows)
                others = [q for q in range(3) if q != p]
                crossed = [
                    scored[p, r][first_of_the_best(chosen[others, r].sum(0), gaps[others].sum(0))]
                    for chosen, scored in halves
                ]
                assert choice.accuracy[CROSS_SEED][p, r] == pytest.approx(np.mean(crossed) / n_rows)
        assert (most_accurate(counts[0, :, 0] / n_rows, gaps) == best_of(counts[0, :, :1], gaps)[:, 0]).all()
        assert (choose(counts, [n_rows] * 2).best == counts.sum(0).argmax(-1)).all()


def first_of_the_best(counts: np.ndarray, gaps: np.ndarray) -> int:
    """The component with most credit, largest gap, smallest index."""
    return min(range(len(counts)), key=lambda j: (-int(counts[j]), -gaps[j], j))
