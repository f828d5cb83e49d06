"""Since when have the final top components been on top? The last step's five best, followed backwards.

For each prompt, F are the `TOP` most accurate components at the last step. At an earlier step t,

    present(t)  = share of F that is among the top at t
    survived(t) = share of F that is among the top at t and at every later step

so `survived` can only rise with t, to 1 at the last step. A tie for the last places counts as everywhere in this
suite: m components tied for k places are k/m each in the top, and F's overlap with a step's top is the sum of the
smaller of the two shares. So five that are tied with others at 1.0 throughout have not been replaced. `by_luck` is what
`present` would be if the components of F were any components: its mean over all permutations of them.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl

from analysis.churn import at_common_prompts
from analysis.consistency import TOP
from analysis.reading.accuracies import StepAccuracies, accuracies, mean_sd
from analysis.reading.answers import GROUP, groups
from dynamics.results.places import Place

_SCHEMA = {
    **dict.fromkeys(GROUP, pl.String),
    "n_shots": pl.Int64,
    "step": pl.Int64,
    "final_step": pl.Int64,
    **dict.fromkeys(("present", "present_sd", "survived", "survived_sd", "accuracy", "accuracy_sd"), pl.Float64),
    "by_luck": pl.Float64,
    **dict.fromkeys(("n_prompts", "n_components", "top"), pl.Int64),
}


def survival(results: Place) -> pl.DataFrame:
    """How much of each prompt's final top is on top at each step, and has stayed there since.

    Returns:
        One row per (model, dtype, control, task, n_shots, step): final_step, present, survived and accuracy (of the
        final top components, chosen on the test rows of the last step), each a mean over prompts with its _sd;
        by_luck; n_prompts (those that every step has), n_components, top.
    """
    rows = [row for group in groups(results) for row in _group(at_common_prompts(list(accuracies(results, group))))]
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


def by_luck(final: np.ndarray, top: np.ndarray) -> np.ndarray:
    """Mean overlap of two memberships (prompt, component) over all permutations of the components: (prompt,).

    `top` takes three values in a prompt, 1, the share of the tied and 0, so that no permutation need be drawn.
    """
    tied = np.where(top < 1, top, 0).max(1, keepdims=True)
    n_tied, n_above = (top == tied).sum(1), (top >= 1).sum(1)
    return (n_above * final.sum(1) + n_tied * np.minimum(final, tied).sum(1)) / top.shape[1]


def _group(steps: Sequence[StepAccuracies]) -> Iterator[dict[str, object]]:
    if not steps:
        return
    tops = [membership(at.accuracy) for at in steps]
    final = tops[-1]
    size = final.sum(1)
    stayed = np.minimum.accumulate(np.stack([np.minimum(final, top) for top in tops])[::-1])[::-1]
    for at, top, since in zip(steps, tops, stayed, strict=True):
        row: dict[str, object] = {**dict(zip(GROUP, at.group, strict=True)), "step": at.step}
        row["final_step"] = steps[-1].step
        values = {
            "present": np.minimum(final, top).sum(1) / size,
            "survived": since.sum(1) / size,
            "accuracy": (final * at.accuracy).sum(1) / size,
        }
        for name, value in values.items():
            row[name], row[f"{name}_sd"] = mean_sd(value)
        row["by_luck"] = mean_sd(by_luck(final, top) / size)[0]
        n_components = len(at.components)
        counts = {"n_prompts": len(at.prompts), "n_components": n_components, "top": min(TOP, n_components)}
        yield {**row, **counts}
