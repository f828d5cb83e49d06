"""Since when have the final top components been on top? The last step's five best, followed backwards.

For each prompt, F are the `TOP` most accurate components at the last step. At an earlier step t,

    present(t)  = share of F that is among the top at t
    survived(t) = share of F that is among the top at t and at every later step

so `survived` can only rise with t, to 1 at the last step. Ties for the last places are shared: m components tied for k
places are k/m each in the top, and F's overlap with a step's top is the sum of the smaller of the two shares. So five
that are tied with others at 1.0 throughout have not been replaced. `by_luck` is the expectation of `present` if F were
any components: its mean over all permutations of them.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl

from analysis.reading.accuracies import StepAccuracies, mean_sd, mean_sd_columns, read_at_common_prompts
from analysis.reading.groups import GROUP_SCHEMA, groups
from analysis.statistics.top_components import TOP
from dynamics.results.places import Place

_SCHEMA = {
    **GROUP_SCHEMA,
    "step": pl.Int64,
    "final_step": pl.Int64,
    **dict.fromkeys(("present", "present_sd", "survived", "survived_sd", "accuracy", "accuracy_sd"), pl.Float64),
    "by_luck": pl.Float64,
    **dict.fromkeys(("n_prompts", "n_components", "top"), pl.Int64),
}


def survival(results: Place) -> pl.DataFrame:
    """Share of each prompt's final top that is on top at each step, and has stayed there since.

    Returns:
        One row per (model, dtype, control, task, n_shots, step): final_step, present, survived and accuracy (of the
        final top components, chosen on the test rows of the last step), each a mean over prompts with its _sd;
        by_luck; n_prompts (those that every step has), n_components, top.
    """
    rows = [row for group in groups(results) for row in _rows(read_at_common_prompts(results, group))]
    return pl.DataFrame(rows, schema=_SCHEMA)


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


def _rows(steps: Sequence[StepAccuracies]) -> Iterator[dict[str, object]]:
    if not steps:
        return
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
            "n_prompts": len(step.prompts),
            "n_components": n_components,
            "top": min(TOP, n_components),
        }
