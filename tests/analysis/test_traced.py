"""Components followed through training: chosen on one half of the test rows, scored on the other."""

import numpy as np
import pytest

from analysis.statistics.component_choice import FIRST, HELD_OUT, LAST, T1
from analysis.statistics.curve_accuracies import design_of, score_choices, score_traced
from tests.learning import STEPS, Design, reader, simulate

DESIGN = Design(n_templates=2, n_seeds=2, n_examples=80, learns_at=(5.0, 6.0, np.inf, np.inf, np.inf), full_at=6.0)


@pytest.fixture(scope="module")
def traced():
    """A simulated sweep, its accuracies, and First-T1 chosen at step 4, among guesses."""
    answers = simulate(DESIGN, 3)
    design = design_of(answers[STEPS[0]], n=99)
    accuracies = score_choices(reader(answers)(STEPS[::-1]), design)
    score_traced(reader(answers)(STEPS), design, accuracies, np.array([4, 4, -1, 4]))
    return answers, design, accuracies


@pytest.mark.parametrize(("curve", "at"), [(LAST, STEPS[-1]), (FIRST, 4)])
def test_they_are_chosen_on_one_half_and_scored_on_the_other(traced, curve: str, at: int) -> None:
    answers, design, accuracies = traced
    for step in (0, 32, 64, 1024):
        for p in range(4):
            expected = []
            for half in (0, 1):
                rows, others = design.halves[half], design.halves[1 - half]
                right = answers[at].labels[p, rows] == design.gold[rows, None]
                chosen = np.lexsort((answers[at].gaps[p], right.sum(0)))[-1]
                expected.append((answers[step].labels[p, others, chosen] == design.gold[others]).mean())
            if curve == FIRST and p == 2:
                assert np.isnan(accuracies.observed[curve][step][p])
            else:
                assert accuracies.observed[curve][step][p] == pytest.approx(np.mean(expected))
    np.testing.assert_allclose(accuracies.observed[LAST][1024], accuracies.observed[HELD_OUT][1024])


def test_guesses_lose_the_optimism_of_their_choice() -> None:
    """Nothing is learnt: T1 of a step is above chance there, Last-T1 is not, even at the step it is chosen at."""
    last, best = [], []
    for seed in range(20):
        answers = simulate(Design(learns_at=(np.inf,) * 12, full_at=np.inf, n_seeds=3, n_templates=1), seed)
        accuracies = score_choices(reader(answers)(STEPS[::-1]), design_of(answers[STEPS[0]], n=20))
        last.append(accuracies.observed[LAST][1024].mean())
        best.append(accuracies.observed[T1][1024].mean())
    assert abs(np.mean(last) - 0.5) < 0.01
    assert np.mean(best) > 0.54
