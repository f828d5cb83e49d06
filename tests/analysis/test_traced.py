"""Components followed through training: chosen on one half of the test rows, scored on the other."""

import numpy as np
import pytest

from analysis.statistics.component_choice import FIRST, HELD_OUT, LAST, T1
from analysis.statistics.curve_accuracies import CurveAccuracies, design_of, score_step, trace
from analysis.statistics.curve_accuracies import Design as CurveDesign
from tests.learning import STEPS, ByStep, Design, simulate

DESIGN = Design(n_templates=2, n_seeds=2, n_examples=80, learns_at=(5.0, 6.0, np.inf, np.inf, np.inf), full_at=6.0)


def accuracies_of(answers: ByStep, design: CurveDesign, first_above: np.ndarray) -> CurveAccuracies:
    """All curves of simulated answers."""
    accuracies, scored = CurveAccuracies(), {step: score_step(answers[step], design) for step in STEPS}
    for step, arrays in scored.items():
        accuracies.add(step, arrays)
    trace(accuracies, scored.items(), design, STEPS[-1], first_above)
    return accuracies


@pytest.fixture(scope="module")
def traced():
    """A simulated sweep, its accuracies, and First-T1 chosen at step 4, among guesses."""
    answers = simulate(DESIGN, 3)
    design = design_of(answers[STEPS[0]], n=99)
    return answers, design, accuracies_of(answers, design, np.array([4, 4, -1, 4]))


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
        accuracies = accuracies_of(answers, design_of(answers[STEPS[0]], n=20), np.full(3, -1))
        last.append(accuracies.observed[LAST][1024].mean())
        best.append(accuracies.observed[T1][1024].mean())
    assert abs(np.mean(last) - 0.5) < 0.01
    assert np.mean(best) > 0.54
