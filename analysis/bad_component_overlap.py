"""Are the same components below chance on other tasks, with other templates, with other demonstrations?

Sets of components are compared with sets of the same sizes drawn at random (`analysis.statistics.set_overlap`):

- `tasks`: pairs of tasks, a row each; a task's set are the components whose AUC is below .5 over all its prompts
  (`bad_components`);
- `demonstrations`, `templates`, `contrast`: pairs of prompts of a task (`analysis.consistency`), all in one row; a
  prompt's set are the components whose AUC is below .5 under it (`bad_components_by_prompt`).

Prompts of one task share their test rows, and tasks may share their texts. So components that only happen to be below
chance on these rows overlap too: a small p says that the same components are below, not that other rows would show it.
"""

from itertools import combinations

import numpy as np
import polars as pl

from analysis.bad_components import ClassifiedStep, classified_steps
from analysis.consistency import prompt_pairs
from analysis.reading.answers import split_prompt
from analysis.reading.groups import GROUP_SCHEMA, Schema
from analysis.reading.task_facts import contrastive_pairs
from analysis.statistics.set_overlap import overlap
from dynamics.results.places import Place

SCHEMA: Schema = {
    **GROUP_SCHEMA,
    "step": pl.Int64,
    "across": pl.String,
    "other_task": pl.String,
    **dict.fromkeys(("size", "shared", "expected", "p_overlap"), pl.Float64),
    **dict.fromkeys(("n_pairs", "n_sets", "n_components"), pl.Int64),
    "reason": pl.String,
}


def bad_component_overlap(results: Place) -> pl.DataFrame:
    """Overlap of the components below chance.

    Returns:
        One row per (model, dtype, control, task, n_shots, step, across), for `tasks` one per other_task as well: size
        (mean number of components of a set), shared (components that a pair shares, mean over n_pairs, those of which
        neither set is empty), expected (of random sets of these sizes), p_overlap (probability of as many or more in
        all; null without a pair, reason says so), n_pairs, n_sets, n_components.
    """
    contrastive = contrastive_pairs(results)
    rows: list[dict[str, object]] = []
    of_tasks: dict[tuple[object, ...], list[ClassifiedStep]] = {}
    for step in classified_steps(results):
        answers = step.answers
        prompts = tuple(map(split_prompt, answers.prompts))
        for across, pairs in sorted(prompt_pairs(prompts, answers.group.task, contrastive).items()):
            rows.append(_row(step, across, None, step.singly.below, pairs))
        setting = (answers.group._replace(task=""), answers.step, answers.components)
        of_tasks.setdefault(setting, []).append(step)
    for members in of_tasks.values():
        rows += [_of_tasks(one, other) for one, other in combinations(members, 2)]
    table = pl.DataFrame(rows, schema=SCHEMA)
    return table.sort("model", "dtype", "control", "n_shots", "task", "step", "across", "other_task")


def _of_tasks(one: ClassifiedStep, other: ClassifiedStep) -> dict[str, object]:
    sets = np.concatenate([one.together.below, other.together.below])
    return _row(one, "tasks", other.answers.group.task, sets, [(0, 1)])


def _row(
    step: ClassifiedStep, across: str, other_task: str | None, sets: np.ndarray, pairs: list[tuple[int, int]]
) -> dict[str, object]:
    found = overlap(sets, pairs)
    numbers = {"shared": found.shared, "expected": found.expected, "p_overlap": found.p}
    return {
        **step.keys,
        "across": across,
        "other_task": other_task,
        "size": float(sets.sum(1).mean()),
        **(numbers if found.n_pairs else dict.fromkeys(numbers)),
        "n_pairs": found.n_pairs,
        "n_sets": len(sets),
        "n_components": sets.shape[1],
        "reason": None if found.n_pairs else "no pair of sets with components below chance in both",
    }
