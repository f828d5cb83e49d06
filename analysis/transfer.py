"""Does the best component of one task solve another? (Paper, Table 3.)

- `matched = "prompt"`: Transfer-1 as in the paper, for out-of-distribution tasks that take another task's
  demonstrations (`demonstrations_of` in `units`): of each prompt (template and seed), the component best on the
  source's test rows, scored on the target's test rows with the same prompt. Oracle-1 is the best on the target's rows
  itself.
- `matched = "task"`: every ordered pair of tasks of one model with equally many labels and shots: the component with
  the best mean over the source's prompts, its mean over the target's; the diagonal is the best on the task itself.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product

import numpy as np
import polars as pl

from analysis.reading.accuracies import (
    FullAccuracy,
    StepAccuracies,
    mean_sd_columns,
    read_accuracies,
    read_full_accuracy,
)
from analysis.reading.groups import GROUP_SCHEMA, Group
from analysis.reading.task_facts import SETTING, comparable_groups, n_labels, transfer_sources
from analysis.statistics.component_choice import most_accurate
from dynamics.results.places import Place

_SCHEMA = {
    **{name: GROUP_SCHEMA[name] for name in SETTING},
    "step": pl.Int64,
    "source": pl.String,
    "target": pl.String,
    "matched": pl.String,
    **dict.fromkeys(("transfer_1", "transfer_1_sd", "oracle_1", "oracle_1_sd", "full", "full_sd", "same"), pl.Float64),
    "component": pl.String,
    "n_prompts": pl.Int64,
    "chance": pl.Float64,
}
Row = dict[str, object]


def transfer(results: Place) -> pl.DataFrame:
    """Accuracy on a target task of the component chosen on a source task, of the target's own best, and of the model.

    Returns:
        One row per (model, dtype, control, n_shots, step, source, target, matched): transfer_1, oracle_1 and full
        (means over the target's prompts, with _sd), same (share of prompts on which the source's best is the target's
        best), component (the one chosen; null where prompts choose their own), n_prompts, chance.
    """
    sources = transfer_sources(results)
    rows = [row for tasks in comparable_groups(results) for row in _rows(results, tasks, sources)]
    chance = n_labels(results).select("model", target="task", chance=1 / pl.col("n_labels"))
    table = pl.DataFrame(rows, schema={name: dtype for name, dtype in _SCHEMA.items() if name != "chance"})
    table = table.join(chance, on=["model", "target"], how="left").select(*_SCHEMA)
    return table.sort(*SETTING, "matched", "source", "target", "step")


def shared_prompts(source: StepAccuracies, target: StepAccuracies) -> list[tuple[int, int]]:
    """Prompts with the same template and seed, as indices into both."""
    index = {prompt: i for i, prompt in enumerate(source.prompts)}
    return [(index[prompt], i) for i, prompt in enumerate(target.prompts) if prompt in index]


def _rows(results: Place, tasks: Sequence[Group], sources: Mapping[str, str]) -> Iterator[Row]:
    """All ordered pairs among groups that differ in their task only."""
    steps = {group: {step.step: step for step in read_accuracies(results, group)} for group in tasks}
    full = {group: read_full_accuracy(results, group) for group in tasks}
    for source, target in product(tasks, tasks):
        for step in sorted(set(steps[source]) & set(steps[target])):
            pair = steps[source][step], steps[target][step]
            keys = {**source.keys, "step": step, "source": source.task, "target": target.task}
            del keys["task"]
            yield {**keys, **_by_task(*pair, full[target])}
            if sources.get(target.task) == source.task and (of_prompts := _by_prompt(*pair, full[target])):
                yield {**keys, **of_prompts}


def _by_prompt(source: StepAccuracies, target: StepAccuracies, full: FullAccuracy) -> Row:
    """Chosen prompt by prompt; empty without a prompt that both tasks have."""
    pairs = shared_prompts(source, target)
    if not pairs:
        return {}
    i, j = np.array(pairs).T
    winner, accuracy = most_accurate(source.accuracy, source.gaps)[i], target.accuracy[j]
    transferred, best = accuracy[np.arange(len(j)), winner], accuracy.max(1)
    prompts = [target.prompts[n] for n in j]
    return {
        "matched": "prompt",
        "n_prompts": len(pairs),
        **mean_sd_columns(transfer_1=transferred, oracle_1=best, full=full.at(target.step, prompts)),
        "same": float((transferred >= best - 1e-9).mean()),
        "component": None,
    }


def _best_on_average(step: StepAccuracies) -> int:
    gaps = None if step.gaps is None else step.gaps.mean(0, keepdims=True)
    return int(most_accurate(step.accuracy.mean(0, keepdims=True), gaps)[0])


def _by_task(source: StepAccuracies, target: StepAccuracies, full: FullAccuracy) -> Row:
    """Chosen on the mean over the source's prompts."""
    winner, best = _best_on_average(source), _best_on_average(target)
    return {
        "matched": "task",
        "n_prompts": len(target.prompts),
        **mean_sd_columns(
            transfer_1=target.accuracy[:, winner],
            oracle_1=target.accuracy[:, best],
            full=full.at(target.step, target.prompts),
        ),
        "same": float(winner == best),
        "component": source.components[winner],
    }
