"""Since when have the final top components been on top? The last step's five best, followed backwards.

For each prompt, F are the `TOP` most accurate components at the last step. At an earlier step t,

    present(t)  = share of F that is among the top at t
    survived(t) = share of F that is among the top at t and at every later step

so `survived` can only rise with t, to 1 at the last step. Ties for the last places are shared: m components tied for k
places are k/m each in the top, and F's overlap with a step's top is the sum of the smaller of the two shares. So five
that are tied with others at 1.0 throughout have not been replaced. `by_luck` is the expectation of `present` if F were
any components: its mean over all permutations of them.

Components that are equally good change places by chance, as much between two samples of test rows as between two steps.
So F chosen on one half of the test rows is compared with the top of each step on the other half (`across_halves`, the
mean of both ways). At the last step that is the ceiling, what noise leaves where nothing changes; it is a little too
low for `present`, whose tops are chosen on twice as many rows.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import polars as pl

from analysis.reading.accuracies import StepAccuracies, mean_sd, mean_sd_columns, read_at_common_prompts
from analysis.reading.answers import StepAnswers, common_prompts, read_answers
from analysis.reading.credit import credit_at_gold
from analysis.reading.groups import GROUP_SCHEMA, Group, groups
from analysis.statistics.replicates import halves_of
from analysis.statistics.top_components import TOP
from dynamics.results.places import Place

_SCHEMA = {
    **GROUP_SCHEMA,
    "step": pl.Int64,
    "final_step": pl.Int64,
    **dict.fromkeys(("present", "present_sd", "survived", "survived_sd", "accuracy", "accuracy_sd"), pl.Float64),
    **dict.fromkeys(("by_luck", "across_halves", "ceiling"), pl.Float64),
    **dict.fromkeys(("n_prompts", "n_components", "top"), pl.Int64),
}


def survival(results: Place) -> pl.DataFrame:
    """Share of each prompt's final top that is on top at each step, and has stayed there since.

    Returns:
        One row per (model, dtype, control, task, n_shots, step): final_step, present, survived and accuracy (of the
        final top components, chosen on the test rows of the last step), each a mean over prompts with its _sd;
        by_luck; across_halves, and ceiling, its value at the last step, on the examples that every prompt has (null
        where they cannot be halved); n_prompts (those that every step has), n_components, top.
    """
    rows = [row for group in groups(results) for row in _rows(results, group)]
    return pl.DataFrame(rows, schema=_SCHEMA)


def overlap_across_halves(steps: Iterable[StepAnswers]) -> dict[int, float]:
    """Step -> overlap of the last step's top on one half of the rows with the step's top on the other half.

    The mean over prompts and both ways; empty where the rows cannot be halved.

    Args:
        steps: the answers of all steps at the same prompts and examples, ascending.
    """
    tops: dict[int, np.ndarray] = {}
    for answers in steps:
        if len(answers.gold) < 2 or _is_one_group(answers.row_groups):
            return {}
        halves = halves_of(answers.gold, answers.example_id, answers.row_groups)
        tops[answers.step] = np.stack([membership(_accuracies(answers, half)) for half in halves])
    final = list(tops.values())[-1] if tops else np.empty(0)
    return {step: float((np.minimum(final[::-1], top).sum(-1) / top.sum(-1)).mean()) for step, top in tops.items()}


def _is_one_group(row_groups: Sequence[str | None]) -> bool:
    return bool(row_groups) and None not in row_groups and len(set(row_groups)) == 1


def _accuracies(answers: StepAnswers, rows: np.ndarray) -> np.ndarray:
    """(prompt, component) accuracies on some rows."""
    tied = None if answers.tied is None else answers.tied[:, rows]
    return credit_at_gold(answers.labels[:, rows], tied, answers.gold[rows][:, None]).mean(1)


def membership(accuracy: np.ndarray, top: int = TOP) -> np.ndarray:
    """How far each component is among the `top` most accurate: (prompt, component) -> shares that sum to `top`.

    1 above the last place, 0 below it, and (places left) / (components tied) at it.
    """
    rounded = np.round(accuracy, 9)
    last = -np.sort(-rounded, axis=1)[:, [min(top, rounded.shape[1]) - 1]]
    above, tied = rounded > last, rounded == last
    places = min(top, rounded.shape[1]) - above.sum(1, keepdims=True)
    return above + tied * places / tied.sum(1, keepdims=True)


def overlap_by_chance(final: np.ndarray, top: np.ndarray) -> np.ndarray:
    """Mean overlap of two memberships (prompt, component) over all permutations of the components: (prompt,).

    `top` takes three values in a prompt, 1, the share of the tied and 0, so that no permutation need be drawn.
    """
    tied = np.where(top < 1, top, 0).max(1, keepdims=True)
    n_tied, n_above = (top == tied).sum(1), (top >= 1).sum(1)
    return (n_above * final.sum(1) + n_tied * np.minimum(final, tied).sum(1)) / top.shape[1]


def _rows(results: Place, group: Group) -> Iterator[dict[str, object]]:
    steps: Sequence[StepAccuracies] = read_at_common_prompts(results, group)
    if not steps:
        return
    common = common_prompts(results, group)
    across = {} if common is None else overlap_across_halves(read_answers(results, group, common))
    tops = [membership(step.accuracy) for step in steps]
    final, size = tops[-1], tops[-1].sum(1)
    overlap = np.stack([np.minimum(final, top) for top in tops])
    survived = np.minimum.accumulate(overlap[::-1])[::-1]
    for i, step in enumerate(steps):
        n_components = len(step.components)
        yield {
            **step.group.keys,
            "step": step.step,
            "final_step": steps[-1].step,
            **mean_sd_columns(
                present=overlap[i].sum(1) / size,
                survived=survived[i].sum(1) / size,
                accuracy=(final * step.accuracy).sum(1) / size,
            ),
            "by_luck": mean_sd(overlap_by_chance(final, tops[i]) / size)[0],
            "across_halves": across.get(step.step),
            "ceiling": across.get(steps[-1].step),
            "n_prompts": len(step.prompts),
            "n_components": n_components,
            "top": min(TOP, n_components),
        }
